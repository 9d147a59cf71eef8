"""Every benchmark runs from any folder, and says before the work how long it takes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ["4", "4", "4", "4", "8", "4"]
ALONE = {
    "coarse_to_fine": (["--size", "40", "56", "44", "--factors", "1"], 1),
    "contrastive": (["--size", "64", "--sizes", "32", "--repeat", "1"], 2),
    "diffusion": (
        ["--size", "32", "16", "16", "--repeat", "1", "--teacher_features", *FEATURES],
        2,
    ),
    "executors": (["--scans", "8", "--turns", "1", "--cases", "2000"], 2),
    "fuzz": (["--count", "6"], 1),
    "hebbian": (["--size", "8", "--network_size", "32", "--repeat", "1"], 2),
    "inference": (
        ["--small", "1", "--large", "0", "--files", "8", "--photographs", "2", "--repeat", "1"],
        3,
    ),
    "selection": (["--scans", "12", "--count", "2", "--strategies", "kmedoids"], 1),
}
WITH_DATA = {
    "propagation": (["--scans", "1"], 1),
    "pseudo_labels": (["--scans", "1", "--rounds", "0", "--train", "1", "--plan", "small.yaml"], 2),
    "selection_proxy": (["--labelled", "1", "--draws", "2", "--divisions", "1", "--test", "2"], 1),
}


@pytest.fixture
def data(tmp_path: Path, write_dataset: Callable[..., Path]) -> list[str]:
    """Return a dataset and a small network, as arguments have them."""
    folder = write_dataset(tmp_path / "data")
    features = [int(n) for n in FEATURES]
    small = {"network_def#features": features, "teacher_features": features}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    return [str(folder), "--datalist", str(folder / "datalist.json")]


def test_all_are_tried() -> None:
    files = (ROOT / "monai_semiseg" / "benchmarks").glob("[a-z]*.py")
    commands = {file.stem for file in files if '__name__ == "__main__"' in file.read_text()}
    # tested by themselves
    studies = {"rounds", "study_tables", "selection_ranks", "nnunet_starts", "nnunet_process"}
    assert {*ALONE, *WITH_DATA} == commands - studies


SLOW = dict.fromkeys(
    ("diffusion", "executors", "hebbian", "inference", "propagation", "pseudo_labels"),
    pytest.mark.slow,
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=SLOW.get(name, ())) for name in sorted({*ALONE, *WITH_DATA})],
)
def test_from_another_folder(
    name: str,
    data: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    arguments, files = ALONE[name] if name in ALONE else WITH_DATA[name]
    monkeypatch.chdir(tmp_path)
    given = data if name in WITH_DATA else []
    if name == "selection_proxy":  # it divides the scans by itself
        given = data[:1]
    monkeypatch.setattr(sys, "argv", [name, *given, *arguments])
    module = importlib.import_module(f"monai_semiseg.benchmarks.{name}")
    try:
        module.main()
    except SystemExit as end:
        assert not end.code
    shown = capsys.readouterr()
    assert shown.err.startswith("about 1 min on 2 ") and "|" in shown.out
    assert len(list((tmp_path / "runs" / "benchmarks").glob("*.csv"))) == files


@pytest.mark.parametrize("name", sorted(ALONE))
def test_as_it_stands_it_takes_less_than_ten_minutes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(BaseException):
        pass

    def announced(seconds: float) -> None:
        raise Enough(seconds)

    module = importlib.import_module(f"monai_semiseg.benchmarks.{name}")
    monkeypatch.setattr(module, "announce", announced)
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(Enough) as told:
        module.main()
    assert 10 < told.value.args[0] < 600
