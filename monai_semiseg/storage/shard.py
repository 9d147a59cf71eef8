"""Shards of the work for several processes: as given, or as torchrun or SLURM set them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from monai_semiseg.errors import ConfigError

Item = TypeVar("Item")


def parse_shard(text: str | None) -> tuple[int, int]:
    """Parse ``i/n`` as (i, n); for None, use torchrun's or SLURM's environment, else (1, 1).

    Raises:
        ConfigError: If it is not ``i/n`` with i from 1 to n.
    """
    if text is None:
        for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
            if rank in os.environ and size in os.environ:
                return int(os.environ[rank]) + 1, int(os.environ[size])
        return 1, 1
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"shard {text!r}", expected="i/n with i from 1 to n")
    return int(index), int(count)


def shard_of(items: Sequence[Item], index: int, count: int) -> list[Item]:
    """Return every ``count``-th item, beginning with number ``index`` (1 to count).

    Raises:
        ConfigError: If there is no such shard.
    """
    if not 1 <= index <= count:
        raise ConfigError(f"shard {index}/{count}", expected="i/n with i from 1 to n")
    return list(items[index - 1 :: count])
