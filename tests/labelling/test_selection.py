"""Never choose what is faulty, unlike the others or there twice, and say why."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.split import split
from monai_semiseg.errors import ConfigError, DimensionError, InputError
from monai_semiseg.executors.choice import parse_executor
from monai_semiseg.images.volume import Volume
from monai_semiseg.labelling.features import Encode, Floats
from monai_semiseg.labelling.selection import Selection, divide, select
from monai_semiseg.labelling.selection_table import write_selection
from monai_semiseg.labelling.strategies import COLD
from monai_semiseg.storage.tables import read_rows
from tests.labelling.selection_builders import SHAPE, anatomy, save, write_scans


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write sixteen sound scans, and one of each fault."""
    folder = write_scans(tmp_path_factory.mktemp("faulty"))
    images = folder / "images"
    rng = np.random.default_rng(1)
    first = np.asarray(nib.load(images / "a00.nii.gz").dataobj)
    save(images / "copy.nii.gz", first)
    save(images / "close.nii.gz", 3 * first + 1 + 0.01 * rng.normal(size=SHAPE))
    save(images / "empty.nii.gz", np.zeros(SHAPE, np.float32))
    save(images / "large.nii.gz", anatomy(rng), np.diag([4.0, 4.0, 4.0, 1.0]))
    save(images / "map.nii.gz", (anatomy(rng) > 2).astype(np.uint8))
    save(images / "nan.nii.gz", np.full(SHAPE, np.nan, np.float32))
    save(images / "other.nii.gz", -8 * anatomy(rng)[:, ::-1])
    (images / "cut.nii.gz").write_bytes((images / "a01.nii.gz").read_bytes()[:900])
    return folder


def run(folder: Path, count: int = 4, **options: object) -> Selection:
    return select(open_dataset(folder), count, progress=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", COLD)
def test_no_fault_is_chosen_and_every_one_has_its_reason(faulty: Path, strategy: str) -> None:
    found = run(faulty, 16, strategy=strategy)
    assert {one.case.id for one in found.chosen} == {f"a{n:02}" for n in range(16)}
    assert found.duplicates == {"copy": "a00", "close": "a00"}
    words = {
        "cut": "E_",
        "empty": "no contrast",
        "large": "field of view",
        "map": "label map",
        "nan": "NaN",
        "other": "as far from its neighbours",
    }
    assert set(found.apart) == set(words)
    assert all(words[name] in reason for name, reason in found.apart.items())
    assert found.unread == ["cut", "empty", "map", "nan"]


def test_equal_arguments_give_equal_bytes(faulty: Path, tmp_path: Path) -> None:
    """Read by threads of this process, and by an engine."""
    dataset = open_dataset(faulty)
    engine = {"executor": parse_executor("local:1"), "logs": tmp_path}
    tables = []
    for options in ({"workers": 1}, {"workers": 3}, engine):
        selection = run(faulty, strategy="typiclust", **options)
        tables.append(write_selection(selection, dataset, tmp_path / "t.csv").read_bytes())
    assert tables[0] == tables[1] == tables[2]


def test_the_chosen_ones_stand_for_all_others(faulty: Path) -> None:
    reasons = [one.reason for one in run(faulty, strategy="kmedoids").chosen]
    assert sum(int(reason.split()[-3]) for reason in reasons) == 16
    assert all(reason.endswith("of 16") for reason in reasons)


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write four patients with three scans each, and one with six."""
    folder = tmp_path_factory.mktemp("patients")
    rng = np.random.default_rng(2)
    for patient, scans in enumerate((3, 3, 3, 3, 6)):
        for scan in range(scans):
            save(folder / "images" / f"p{patient}_s{scan}.nii.gz", anatomy(rng, patient))
    return folder


@pytest.mark.parametrize("strategy", COLD)
def test_every_patient_gives_one_before_any_gives_two(patients: Path, strategy: str) -> None:
    dataset = open_dataset(patients, group=r"(p\d)_")
    already = {
        "training": [{"image": "images/p0_s0.nii.gz"}],
        "test": [{"image": "images/p1_s0.nii.gz"}],
    }
    found = select(dataset, 7, strategy=strategy, already=already, progress=False)
    groups = [one.case.group for one in found.chosen]
    assert sorted(groups[:3]) == ["p2", "p3", "p4"]  # p0 has a label, p1 is a test patient
    assert sorted(groups[3:]) == ["p0", "p2", "p3", "p4"]
    ids = {one.case.id for one in found.chosen}
    assert "p0_s0" not in ids and found.labelled == ["p0_s0"]


@pytest.mark.parametrize("group", [r"(p\d)_", None], ids=["groups named", "as the split says"])
def test_no_scan_of_a_patient_that_validates_or_tests(patients: Path, group: str | None) -> None:
    known = open_dataset(patients, group=r"(p\d)_")
    cases = [
        replace(case, label="l.nii") if case.id in ("p0_s0", "p1_s0", "p2_s0") else case
        for case in known.cases
    ]
    already = split(replace(known, cases=cases), labelled=2, test=1, validation=0.5)
    held = {entry["group"] for section in ("validation", "test") for entry in already[section]}
    labelled, rest = divide(open_dataset(patients, group=group), already)
    assert len(held) == len(labelled) == 2
    assert {case.id for case in rest} == {
        case.id for case in known.cases if case.group not in held
    } - {case.id for case in labelled}


def test_scans_with_a_label_file_are_labelled(tmp_path: Path) -> None:
    folder = write_scans(tmp_path, 12)
    for n in range(3):
        save(folder / "labels" / f"a{n:02}.nii.gz", np.zeros(SHAPE, np.uint8))
    found = run(folder, 9)
    assert found.labelled == ["a00", "a01", "a02"]
    assert {one.case.id for one in found.chosen} == {f"a{n:02}" for n in range(3, 12)}
    for n in range(3, 12):
        save(folder / "labels" / f"a{n:02}.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(ConfigError, match="--already"):
        run(folder, 1)


def test_a_scan_nearly_the_same_as_a_labelled_one(faulty: Path) -> None:
    already = {"training": [{"image": "images/copy.nii.gz"}]}
    found = run(faulty, already=already)
    assert found.duplicates == {"a00": "copy", "close": "copy"}
    assert "cut" in run(faulty, already={"training": [{"image": "images/cut.nii.gz"}]}).unread


def test_what_cannot_be(faulty: Path, tmp_path: Path) -> None:
    for count in (0, 25):
        with pytest.raises(ConfigError, match=f"--count {count}"):
            run(faulty, count)
    with pytest.raises(ConfigError, match="none is in the data set"):
        run(faulty, already={"training": [{"image": "elsewhere/x.nii.gz"}]})
    save(tmp_path / "images" / "a.nii.gz", np.ones(SHAPE, np.float32))
    with pytest.raises(ConfigError, match=r"no scan that can be chosen; a: .*no contrast"):
        run(tmp_path, 1)
    save(tmp_path / "images" / "b.nii.gz", anatomy(np.random.default_rng(0)))
    save(tmp_path / "images" / "c.nii.gz", anatomy(np.random.default_rng(0))[..., :1])
    with pytest.raises(DimensionError):
        run(tmp_path, 1)


@dataclass(frozen=True)
class Broken:
    """Encode some scans; refuse all others, or kill whoever encodes them."""

    known: str
    error: Exception | None = None
    device: str = "cpu"

    def open(self) -> Encode:
        return self._encode

    def _encode(self, files: list[str], image: Volume) -> Floats:
        if self.known not in files[0]:
            if self.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise self.error
        return np.asarray(image.array[4, 8, :6], np.float32)


def test_an_encoder_fails_with_one_scan_or_with_all(faulty: Path) -> None:
    found = run(faulty, encoder=Broken("/a", RuntimeError("expected another size")))
    assert "RuntimeError: expected another size" in found.apart["other"]
    assert "other" in found.unread
    with pytest.raises(ConfigError, match="no image has features"):
        run(faulty, encoder=Broken("nowhere", RuntimeError("no")))


def test_an_encoder_returns_equally_many_numbers(faulty: Path) -> None:
    def encode(files: Sequence[str], image: Volume) -> Floats:
        return np.ones(3 if "a03" in files[0] else 4, np.float32)

    with pytest.raises(ConfigError, match="returns 3 of a03, 4 of "):
        run(faulty, encoder=SimpleNamespace(device="cpu", open=lambda: encode))


@pytest.mark.slow
def test_a_scan_that_kills_its_workers_is_set_apart(tmp_path: Path) -> None:
    """Blame no scan beside it, and choose as if it could not be encoded."""
    folder = write_scans(tmp_path / "scans", 7)
    save(folder / "images" / "b.nii.gz", anatomy(np.random.default_rng(1)))
    team = {"executor": parse_executor("local:2", resubmit=0), "logs": tmp_path / "logs"}
    found = run(folder, 2, strategy="kmedoids", encoder=Broken("/a"), **team)
    whole = run(folder, 2, strategy="kmedoids", encoder=Broken("/a", InputError("no")))
    assert found.unread == whole.unread == list(found.apart) == ["b"]
    assert "E_WORKER" in found.apart["b"] and "worker_" in found.apart["b"]
    assert found.map == whole.map and found.chosen == whole.chosen


def test_the_reason_is_not_what_monai_wraps_around_it(faulty: Path) -> None:
    cause = InputError("2 channels", expected="1 channel")
    wrapped = RuntimeError("applying transform <Read object>")
    wrapped.__cause__ = cause
    assert run(faulty, encoder=Broken("/a", wrapped)).apart["other"] == cause.reason


def test_doubt_leads_and_a_model_may_fail(faulty: Path) -> None:
    def doubt(cases: object) -> dict[str, float | str]:
        ids = [case.id for case in cases]  # type: ignore[attr-defined]
        return {**dict.fromkeys(ids, 0.1), "a05": 0.9, "a07": "E_INTERNAL it fails"}

    found = run(faulty, 2, strategy="uncertainty", doubt=doubt)
    assert found.chosen[0].case.id == "a05" and found.chosen[0].score == pytest.approx(0.9)
    assert found.apart["a07"] == "E_INTERNAL it fails" and "a07" in found.unread
    with pytest.raises(ConfigError, match="fails with every scan"):
        run(faulty, 2, strategy="uncertainty", doubt=lambda cases: {c.id: "x" for c in cases})


def test_the_verb(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Write table and picture, and exit with 3 for unread scans."""
    output = tmp_path / "to_label.csv"
    words = ["select", str(faulty), "--count", "20", "--strategy", "kmedoids"]
    assert main([*words, "--output", str(output)]) == 3
    said = capsys.readouterr()
    assert "left out: cut: E_" in said.err and "only 16 of 20 cases are fit" in said.err
    assert "set apart: other" in said.err and "2 near duplicates" in said.err
    assert (tmp_path / "to_label.png").read_bytes()[:4] == b"\x89PNG"
    rows, columns = read_rows(output)
    assert columns == ["rank", "id", "group", "image", "strategy", "score", "status", "reason"]
    assert [row["rank"] for row in rows[:16]] == [str(n) for n in range(1, 17)]
    assert {row["status"] for row in rows[16:]} == {"set apart", "duplicate"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--strategy", "typiclst"], "did you mean 'typiclust'"),
        (["--strategy", "uncertainty"], "needs a trained model"),
        (["--output", "list.txt"], "ends with .csv"),
        (["--already", "gone.json"], "no datalist found"),
        (["--encoder", "gone.ts"], "no TorchScript module"),
        (["--count", "99"], "--count 99"),
        (["--executor", "local:0"], "with N of 1 or more"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else None,
)
def test_bad_requests(
    faulty: Path, more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["select", str(faulty), "--count", "2", "--output", str(tmp_path / "x.csv"), *more]
    assert main(asked) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_split_takes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_scans(tmp_path / "data", 12)
    table = tmp_path / "t.csv"
    assert main(["select", str(folder), "--count", "4", "--output", str(table)]) == 0
    rows, _ = read_rows(table)
    chosen = {f"images/{row['id']}.nii.gz" for row in rows}
    label = np.zeros(SHAPE, np.uint8)
    label[4:9, 4:9, 4:9] = 1
    asked = ["split", str(folder), "--labelled", str(table), "--output", str(tmp_path / "d.json")]
    assert main(asked) == 2  # nobody has labelled them yet
    assert "4 of 4 chosen scans have no label" in capsys.readouterr().err
    for n in range(12):
        save(folder / "labels" / f"a{n:02}.nii.gz", label)
    assert main([*asked, "--test", "3"]) == 0
    datalist = json.loads((tmp_path / "d.json").read_text())
    assert {entry["image"] for entry in datalist["training"]} == chosen
    assert len(datalist["test"]) == 3 and len(datalist["unlabeled"]) == 5
