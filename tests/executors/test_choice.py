"""What does the work is chosen by one word; what cannot be is refused before any work."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.executors import choice as choice_module
from monai_semiseg.executors.choice import parse_executor
from monai_semiseg.executors.engine import open_engine
from tests.executors.light_work import Squares


def test_local(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_executor("local:3").worker_count() == 3
    assert parse_executor("local:1").in_process and not parse_executor("local:2").in_process
    monkeypatch.setattr(choice_module, "gpus", list)
    assert parse_executor("local").in_process  # without a GPU
    monkeypatch.setattr(choice_module, "gpus", lambda: ["0", "1"])
    assert parse_executor("local").worker_count() == 2


def test_dask() -> None:
    assert parse_executor("dask").address == "" and not parse_executor("dask").elsewhere
    assert parse_executor("dask:2").workers == 2
    asked = parse_executor("dask:tcp://10.0.0.1:8786")
    assert asked.address == "tcp://10.0.0.1:8786" and asked.elsewhere
    assert parse_executor("dask://10.0.0.1:8786").address == "10.0.0.1:8786"


def test_slurm(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("slurm_partition: gpu\njobs: 8\n")
    asked = parse_executor(f"slurm:{tmp_path / 's.yaml'}", resubmit=1)
    assert asked.settings == {"slurm_partition": "gpu", "jobs": 8} and asked.resubmit == 1
    assert asked.elsewhere and parse_executor("slurm").settings == {}


@pytest.mark.parametrize(
    "text",
    ["ray", "", "local:0", "local:-1", "local:two", "dask:0", "dask:-2", "slurm:gone.yaml"],
)
def test_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_executor(text)
    assert len(str(caught.value).splitlines()) <= 4


@pytest.mark.parametrize(
    "content", ["[1]", "jobs: 0", "jobs: many", "cases: 0", "a: [", "jobs: true"]
)
def test_settings_that_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"s\.yaml"):
        parse_executor(f"slurm:{tmp_path / 's.yaml'}")


def test_negative_resubmission() -> None:
    with pytest.raises(ConfigError, match="--resubmit -1"):
        parse_executor("local:2", resubmit=-1)


@pytest.mark.parametrize(("kind", "package"), [("slurm", "submitit"), ("dask", "distributed")])
def test_a_package_that_is_not_installed(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def find(name: str, *more: Any) -> Any:
        return None if name == package else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(ConfigError, match=rf"pip install 'monai_semiseg\[{kind}\]'"):
        parse_executor(kind)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "srun"),
        ("cluster: moon", "moon"),
        ("{cluster: local, colour: red}", "colour"),
        ("{cluster: local, timeout_min: soon}", "timeout_min"),
    ],
)
def test_settings_that_submitit_does_not_know(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(content)
    asked = parse_executor(f"slurm:{tmp_path / 's.yaml'}")
    with (
        pytest.raises(ConfigError, match=words),
        open_engine(asked, Squares(tmp_path / "out"), tmp_path / "logs"),
    ):
        pytest.fail("it was opened")
    assert not (tmp_path / "out").exists()
