"""Split and plan write the same again, and replace nothing that was changed since."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_semiseg.cli.main import main

DATASET = Path(__file__).parents[2] / "sample_data" / "dataset"


def command(verb: str, file: Path, *more: str) -> list[str]:
    asked = {"split": ["--labelled", "2"], "plan": ["--memory", "4"]}[verb]
    return [verb, str(DATASET), *asked, "--output", str(file), *more]


@pytest.mark.parametrize("verb", ["split", "plan"])
def test_what_was_changed_since_is_not_lost(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    assert main(command(verb, file)) == 0
    written = file.read_bytes()
    assert main(command(verb, file)) == 0 and file.read_bytes() == written
    mine = written + b"\n# mine\n"
    file.write_bytes(mine)
    capsys.readouterr()
    assert main(command(verb, file)) == 2 and file.read_bytes() == mine
    told = capsys.readouterr().err
    assert str(file) in told and "says something else" in told and "--overwrite" in told
    assert main(command(verb, file, "--overwrite")) == 0 and file.read_bytes() == written


def test_another_split_needs_another_name(tmp_path: Path) -> None:
    file = tmp_path / "datalist.json"
    assert main(command("split", file)) == 0
    assert main(command("split", file, "--seed", "1")) == 2
    assert json.loads(file.read_text())["split"]["seed"] == 0


def test_a_training_does_not_lose_the_split_of_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "datalist.json").write_text("{}")
    asked = ["train", str(DATASET), "--labelled", "2", "--output", str(tmp_path)]
    assert main(asked) == 2 and (tmp_path / "datalist.json").read_text() == "{}"
    assert "--overwrite" in capsys.readouterr().err
