"""Each verb with each engine leaves what one process leaves, but for times."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monai_semiseg.cli.main import main
from monai_semiseg.inference.segmenter import CaseSegmenter
from monai_semiseg.storage.files import sha256_of
from tests.executor_kinds import ENGINES, engine
from tests.labelling.selection_builders import write_scans

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
TIMES = ("seconds", "memory_mb")
# What differs with who did it: the lines of each process, logs, and times.
OWN = ("manifest", "logs", "report.csv", "report.json")


def predict(scans: Path, output: Path, *more: str) -> int:
    where = ["--output", str(output), "--bundle", str(BUNDLE), "--device", "cpu"]
    plain = ["--set", "mirror_axes=[]", "--set", "overlap=0.0"]
    return main(["predict", str(scans), *where, *plain, *more])


def tree(folder: Path) -> dict[str, Any]:
    """Return content of a folder run's output, but for times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path: path.relative_to(folder) for path in files}
    found: dict[str, Any] = {
        str(name): sha256_of(path) for path, name in names.items() if name.parts[0] not in OWN
    }
    report = json.loads((folder / "report.json").read_text())
    for case in report["cases"]:
        for name in TIMES:
            del case[name]
    return {**found, "report": report}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, kit: SimpleNamespace) -> Path:
    """Return three tiny scans, and one that is damaged."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(4):
        kit.write_nifti(folder / f"s{number}.nii", kit.values((10, 9 + number, 8), number))
    (folder / "s2.nii").write_bytes((folder / "s2.nii").read_bytes()[:600])
    return folder


@pytest.fixture(scope="module")
def masks(scans: Path) -> Path:
    """Return the masks that one process makes of them."""
    assert predict(scans, scans.parent / "masks") == 3
    return scans.parent / "masks"


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_predict(name: str, scans: Path, masks: Path, tmp_path: Path, capsys: Any) -> None:
    code = predict(scans, tmp_path / "out", "--executor", engine(name, tmp_path))
    assert code == 3
    assert tree(tmp_path / "out") == tree(masks)
    printed = capsys.readouterr()
    (told,) = [line for line in f"{printed.out}{printed.err}".splitlines() if "E_TRUNCATED" in line]
    log = Path(told.rsplit("(log: ", 1)[1].split(")")[0])
    assert "E_TRUNCATED" in log.read_text()
    assert (tmp_path / "out" / "logs").is_dir() and not (masks / "logs").exists()


@pytest.mark.parametrize("word", ["ray", "local:0", "dask:tcp://127.0.0.1:9", "slurm:gone.yaml"])
def test_refused_before_any_work(
    word: str, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from monai_semiseg.executors import dask_engine

    monkeypatch.setattr(dask_engine, "_ANSWER", 0.2)
    monkeypatch.setattr(CaseSegmenter, "read", lambda *_: pytest.fail("work was started"))
    assert predict(scans, tmp_path / "out", "--executor", word) == 2
    assert "\nE_CONFIG --executor" in f"\n{capsys.readouterr().err}" or word.startswith("slurm")
    assert not (tmp_path / "out").exists()


def evaluate(dataset: Path, output: Path, *more: str) -> int:
    where = ["--output", str(output), "--bundle", str(BUNDLE), "--device", "cpu"]
    words = ["--datalist", str(dataset / "datalist.json"), "--set", "mirror_axes=[]"]
    return main(["evaluate", str(dataset), *words, *where, *more])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, write_dataset: Any) -> Path:
    """Write two training scans and four test scans, one of them damaged."""
    folder = tmp_path_factory.mktemp("dataset")
    made: Path = write_dataset(folder, scans=6, shape=(20, 24, 18), sizes=(2, 0, 0))
    (made / "images" / "3.nii.gz").write_bytes(b"no scan")
    return made


@pytest.mark.slow
def test_evaluate(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    assert evaluate(dataset, tmp_path / "one") == 3
    told = capsys.readouterr().out.replace(str(tmp_path / "one"), "")
    assert evaluate(dataset, tmp_path / "two", "--executor", "local:2") == 3
    assert capsys.readouterr().out.replace(str(tmp_path / "two"), "") == told
    for name in ("metrics.csv", "metrics.json", "worst_cases.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        # Features and doubt are those of a network; then coarse intensities alone.
        ("local:2", ["--strategy", "uncertainty", "--bundle", str(BUNDLE), "--device", "cpu"]),
        ("dask:2", ["--strategy", "kmedoids"]),
    ],
    ids=["local:2", "dask:2"],
)
def test_select(
    name: str, words: list[str], tmp_path: Path, write_dataset: Any, capsys: Any
) -> None:
    """Choose among five scans, one of them damaged, beside two that train."""
    folder = write_dataset(tmp_path / "scans", scans=7, shape=(20, 24, 18), sizes=(2, 5, 0))
    (folder / "images" / "3.nii.gz").write_bytes(b"no scan")
    asked = ["select", str(folder), "--count", "2", "--already", str(folder / "datalist.json")]
    told = []
    for place, more in (("one", []), ("two", ["--executor", name])):
        table = tmp_path / place / "to_label.csv"
        assert main([*asked, *words, "--output", str(table), *more]) == 3
        printed = capsys.readouterr()
        said = [line for line in printed.err.splitlines() if "left out" in line]
        told.append((printed.out.replace(place, ""), said))
    assert told[0] == told[1] and "left out: 3: E_" in told[0][1][0]
    for file in ("to_label.csv", "to_label.png"):
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()
    assert any((tmp_path / "two" / "to_label.logs").iterdir())
    assert len(list((tmp_path / "one").iterdir())) == 2  # one process has no log


@pytest.mark.slow
def test_propose(tmp_path: Path) -> None:
    folder = write_scans(tmp_path / "scans", 2)
    asked = ["propose", str(folder), "--bundle", str(BUNDLE), "--device", "cpu"]
    asked += ["--set", "mirror_axes=[]", "--output"]
    trees = []
    for place, name in (("one", "local:1"), ("two", "local:2")):
        assert main([*asked, str(tmp_path / place), "--executor", name]) == 0
        masks = tmp_path / place / "proposals"
        for own in (masks / name for name in OWN):
            shutil.rmtree(own) if own.is_dir() else own.unlink(missing_ok=True)
        files = sorted(path for path in (tmp_path / place).rglob("*") if path.is_file())
        trees.append({path.relative_to(tmp_path / place): sha256_of(path) for path in files})
    assert trees[0] == trees[1] and Path("tasks.json") in trees[0]


@pytest.mark.slow
def test_check(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["check", str(dataset), "--datalist", str(dataset / "datalist.json"), "--output"]
    assert main([*words, str(tmp_path / "one.json")]) == 2
    told = capsys.readouterr().out
    assert main([*words, str(tmp_path / "two.json"), "--executor", "local:2"]) == 2
    assert capsys.readouterr().out == told and "E_" in told
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    assert main(["check", str(dataset), "--executor", "slurm"]) == 2
    assert "without --output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["predict", "in", "--output", "out", "--shard", "1/2"], "--executor local:N"),
        (["study", "in", "--output", "out", "--shard", "1/2"], "--executor local:N"),
        (["study", "in", "--output", "out", "--jobs", "2"], "--executor local:N runs N cells"),
    ],
    ids=["predict --shard", "study --shard", "study --jobs"],
)
def test_old_options_say_what_came_in_their_place(
    words: list[str], instead: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2 and instead in capsys.readouterr().err
