"""Work is shared out without a coordinator."""

from __future__ import annotations

import itertools

import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.shard import parse_shard, shard_of


def test_shards_share_out_everything_once() -> None:
    items = list(range(11))
    parts = [shard_of(items, n, 4) for n in (1, 2, 3, 4)]
    assert sorted(itertools.chain.from_iterable(parts)) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["3/2", "0/2", "1", "a/b", "1/", "-1/2", "1/2/3"])
def test_bad_shards(text: str) -> None:
    with pytest.raises(ConfigError, match="i/n"):
        parse_shard(text)


def test_shards_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert parse_shard(None) == (1, 1) and parse_shard("2/3") == (2, 3)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert parse_shard(None) == (1, 4)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert parse_shard(None) == (3, 3) and parse_shard("1/1") == (1, 1)


@pytest.mark.parametrize(("index", "count"), [(0, 2), (3, 2)])
def test_no_such_shard(index: int, count: int) -> None:
    with pytest.raises(ConfigError, match="i/n"):
        shard_of([1], index, count)
