"""Some labels do not lie on their image: every verb names these cases and does the others."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.cli.main import main
from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.errors import GeometryError, root_cause
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.scan import read_grid

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
BAD = ("broken", "cut", "shifted", "turned", "wide")  # in the order of the listing
SOUND = ("backwards", "plain_0", "plain_1", "plain_2", "plain_3")


def save(path: Path, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1)
    nib.save(image, path)


def shifted_by(offset: float) -> np.ndarray[Any, Any]:
    moved = AFFINE.copy()
    moved[1, 3] = offset
    return moved


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Write scans of one box in noise; one label is stored backwards with its affine."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for name in (*SOUND, *BAD):
        label = np.zeros((20, 18, 16), np.uint8)
        label[3:12, 4:9, 5:14] = 1
        image = rng.normal(size=label.shape).astype(np.float32) + 3 * label
        save(root / "images" / f"{name}.nii.gz", image)
        save(root / "labels" / f"{name}.nii.gz", label)
    labels = root / "labels"
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[[0, 2], 3] = 19, 15
    save(labels / "backwards.nii.gz", label[::-1, :, ::-1], AFFINE @ flip)
    save(labels / "shifted.nii.gz", label, shifted_by(3))
    save(labels / "turned.nii.gz", label, AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    save(labels / "wide.nii.gz", label[:, :, :-1])
    (labels / "broken.nii.gz").write_bytes(b"nothing")
    cut = root / "images" / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-1000])
    return root


def test_check_names_all(dataset: Path, tmp_path: Path) -> None:
    assert main(["check", str(dataset), "--output", str(tmp_path / "report.json")]) == 2
    findings = json.loads((tmp_path / "report.json").read_text())["findings"]
    errors = {finding["case"]: finding for finding in findings if finding["level"] == "error"}
    assert sorted(errors) == sorted(BAD)
    assert "3 mm off the image" in errors["shifted"]["message"]
    assert {errors[name]["code"] for name in ("shifted", "turned", "wide")} == {"E_GEOMETRY"}


def test_split_leaves_them_out_and_names_them(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "datalist.json"
    assert (
        main(["split", str(dataset), "--labelled", "3", "--test", "2", "--output", str(out)]) == 3
    )
    said = capsys.readouterr().err
    assert [line.split(": ")[1] for line in said.splitlines()] == list(BAD)
    assert "E_GEOMETRY" in said and "3 mm off the image" in said and "E_NOT_NIFTI" in said
    content = load_datalist(out)
    images = []
    for section in ("training", "unlabeled", "validation", "test"):
        images += [entry["image"] for entry in content[section]]
    assert sorted(images) == sorted(f"images/{name}.nii.gz" for name in SOUND)


def test_split_says_the_readers_remarks_once(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = dataset / "labels" / "plain_0.nii.gz"
    image = nib.load(label)
    image.header.set_qform(shifted_by(2), code=1)
    nib.save(image, label)
    command = ["split", str(dataset), "--labelled", "3", "--output", str(tmp_path / "d.json")]
    assert main(command) == 3
    assert capsys.readouterr().err.count("W_ORIENT") == 1


def test_plan_leaves_them_out_and_names_them(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = nib.load(dataset / "images" / "plain_0.nii.gz")
    image.header.set_qform(shifted_by(2), code=1)
    nib.save(image, dataset / "images" / "plain_0.nii.gz")
    assert main(["plan", str(dataset), "--output", str(tmp_path / "plan.yaml")]) == 3
    said = capsys.readouterr().err
    assert [line.split(": ")[1] for line in said.splitlines() if "left out" in line] == list(BAD)
    assert said.count("W_ORIENT") == 1 and "plain_0.nii.gz: qform and sform differ" in said
    assert "spacing" in (tmp_path / "plan.yaml").read_text()


def pairs(dataset: Path, *names: str) -> list[dict[str, str]]:
    assert (dataset / "images").is_dir()
    return [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in names]


def datalist(dataset: Path, training: tuple[str, ...], test: tuple[str, ...]) -> Path:
    content = {"training": pairs(dataset, *training), "test": pairs(dataset, *test)}
    path = dataset / "datalist.json"
    path.write_text(json.dumps({**content, "validation": [], "unlabeled": []}))
    return path


SMALL = {"patch_size": [32, 32, 32], "device": "$torch.device('cpu')", "num_workers": 0}


@pytest.mark.parametrize("bad", ["shifted", "turned", "wide"])
def test_training_stops_before_the_first_iteration(bad: str, dataset: Path, tmp_path: Path) -> None:
    names = datalist(dataset, ("plain_0", bad, "plain_1"), ("plain_2",))
    out = str(tmp_path / "out")
    asked = {**SMALL, "dataset_dir": str(dataset), "datalist": str(names), "iterations": 1}
    with pytest.raises(RuntimeError) as caught:
        run_workflow(BUNDLE, "train", {**asked, "ckpt_dir": out, "output_dir": out})
    cause = root_cause(caught.value)
    assert isinstance(cause, GeometryError) and f"{bad}.nii.gz" in str(cause)
    assert not (tmp_path / "out" / "model.pt").exists()


def evaluation(dataset: Path, out: Path, *names: str) -> list[str]:
    asked = datalist(dataset, ("plain_0",), names)
    command = ["evaluate", str(dataset), "--bundle", str(BUNDLE), "--device", "cpu"]
    command += ["--datalist", str(asked), "--output", str(out), "--set", "patch_size=[32,32,32]"]
    return command


def test_evaluation_scores_the_others(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = evaluation(dataset, tmp_path / "out", "shifted", "plain_1", *BAD[:2], "backwards")
    assert main(command) == 3
    rows = csv.DictReader((tmp_path / "out" / "metrics.csv").open())
    assert sorted({row["case"] for row in rows}) == ["backwards", "plain_1"]
    failed = json.loads((tmp_path / "out" / "metrics.json").read_text())["failed"]
    assert {case["case"]: case["code"] for case in failed} == {
        "shifted": "E_GEOMETRY",
        "broken": "E_NOT_NIFTI",
        "cut": "E_TRUNCATED",
    }
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert [line.split(": ")[1] for line in said] == ["shifted", "broken", "cut"]


def test_an_evaluation_of_bad_cases_alone_is_an_error(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(evaluation(dataset, tmp_path / "out", "shifted", "wide")) == 2
    said = capsys.readouterr().err
    assert "no case was scored" in said and "2 failed" in said and "shifted.nii.gz" in said
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_the_workflow_leaves_with_3(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fail as a study runs it: a cell with fewer test scans than another one is no cell."""
    names = datalist(dataset, ("plain_0",), ("plain_1", "shifted"))
    asked = {"dataset_dir": str(dataset), "datalist": str(names), "output_dir": str(tmp_path / "o")}
    small = {key: SMALL[key] for key in ("patch_size", "device")}
    workflow = run_workflow(BUNDLE, "evaluate", {**small, **asked})
    with pytest.raises(SystemExit) as caught:
        workflow.finalize()
    assert caught.value.code == 3
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("E_GEOMETRY")]
    assert len(said) == 1 and "shifted.nii.gz" in said[0]


def test_a_study_splits_the_sound_cases(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check that it reads headers, once; files that are no cases are named as well."""
    save(dataset / "labels" / "orphan.nii.gz", np.zeros((20, 18, 16), np.uint8))
    read = Counter[str]()

    def counting(source: Any, **options: Any) -> Grid:
        read[str(source)] += 1
        return read_grid(source, **options)

    monkeypatch.setattr("monai_semiseg.datasets.dataset.read_grid", counting)
    monkeypatch.setattr("monai_semiseg.datasets.label_files.read_grid", counting)
    command = ["study", str(dataset), "--output", str(tmp_path / "study"), "--bundle", str(BUNDLE)]
    command += ["--methods", "supervised", "--labelled", "all", "--splits", "0", "--test", "2"]
    main([*command, "--dry_run"])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    named = {line.split(": ")[1] for line in said}
    assert named == {"labels/orphan.nii.gz", *BAD} - {"cut"}
    assert set(read.values()) == {1}
    (written,) = (tmp_path / "study" / "splits").glob("*/datalist.json")
    content = load_datalist(written)
    assert len(content["training"]) + len(content["validation"]) == len(SOUND) + 1 - 2
    assert len(content["test"]) == 2
    save(dataset / "images" / "flat.nii.gz", np.zeros((20, 18, 1), np.uint8))
    assert main([*command[:3], str(tmp_path / "mixed"), *command[4:], "--dry_run"]) == 2
    assert "1 images of one slice (2-D, such as flat) and" in capsys.readouterr().err
