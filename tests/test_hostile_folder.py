"""One folder of valid and invalid input: all verbs use the valid scans and name the others."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.cli.main import main
from monai_semiseg.plain_text import printable

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "semisupervised_baselines"
SMALL = ["--bundle", str(BUNDLE), "--device", "cpu", "--set", "patch_size=[32, 32, 32]"]

SOUND = tuple(f"sound_{n}" for n in range(6))
SHAPE = (20, 18, 16)
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
ODD = os.fsdecode(b"caf\xe9")  # a name in Latin-1


def blob(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a bright box in noise, and its label."""
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, np.uint8)
    x, y, z = rng.integers(3, 8, 3)
    label[x : x + 8, y : y + 7, z : z + 6] = 1
    noise = rng.normal(size=SHAPE).astype(np.float32)
    return (100 + 10 * noise + 60 * label).astype(np.float32), label


def save(path: Path, array: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.header.set_sform(affine, code=1)
    # A name that is no UTF-8 is not for nibabel.
    path.write_bytes(image.to_bytes())
    return path


@dataclass(frozen=True)
class Row:
    """One hostile input of a data set.

    Attributes:
        name: of its files, without suffix.
        write: folder of images, folder of labels, name -> writes the files.
        words: what every verb that names it may say; one of them has to stand in the reason.
        sound_scan: whether the scan alone is sound (the label is not): ``predict`` segments it.
        verbs: those that have to name it.
    """

    name: str
    write: Callable[[Path, Path, str], object]
    words: tuple[str, ...]
    sound_scan: bool = False
    verbs: tuple[str, ...] = ("check", "split", "plan", "predict", "evaluate")


def pair(images: Path, labels: Path, name: str) -> tuple[Path, Path]:
    image, label = blob(len(name))
    return save(images / f"{name}.nii", image), save(labels / f"{name}.nii", label)


def truncated(images: Path, labels: Path, name: str) -> None:
    image, _ = pair(images, labels, name)
    image.write_bytes(image.read_bytes()[:-500])


def foreign(images: Path, labels: Path, name: str) -> None:
    image, _ = pair(images, labels, name)
    image.write_text("<html>404</html>")


def nan(images: Path, labels: Path, name: str) -> None:
    image, label = blob(3)
    image[2, 2, 2] = np.nan
    save(images / f"{name}.nii", image), save(labels / f"{name}.nii", label)


def colour_stack(images: Path, labels: Path, name: str) -> None:
    image, label = blob(4)
    save(images / f"{name}.nii", np.stack([image] * 3, -1)), save(labels / f"{name}.nii", label)


def picture(images: Path, labels: Path, name: str) -> None:
    for folder, array in zip((images, labels), blob(5), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array[..., 8].astype(np.uint8)).save(folder / f"{name}.png")


def dangling(images: Path, labels: Path, name: str) -> None:
    pair(images, labels, name)[0].unlink()
    (images / f"{name}.nii").symlink_to("/nowhere/scan.nii")


def channels(*names: str) -> Callable[[Path, Path, str], None]:
    def write(images: Path, labels: Path, name: str) -> None:
        image, label = blob(6)
        for channel in names:
            save(images / f"{name}_{channel}.nii", image)
        save(labels / f"{name}.nii", label)

    return write


def shifted_label(images: Path, labels: Path, name: str) -> None:
    moved = AFFINE.copy()
    moved[0, 3] = 3.0
    image, label = blob(7)
    save(images / f"{name}.nii", image), save(labels / f"{name}.nii", label, moved)


def strange_label(images: Path, labels: Path, name: str) -> None:
    image, label = blob(8)
    label[:3] = 77
    save(images / f"{name}.nii", image), save(labels / f"{name}.nii", label)


FOLDER_VERBS = ("check", "split", "plan", "predict")
ROWS = (
    Row("cut", truncated, ("E_TRUNCATED",)),
    Row("foreign", foreign, ("E_NOT_NIFTI",)),
    Row("nan", nan, ("E_NONFINITE",)),
    Row("colours", colour_stack, ("E_NDIM",)),
    Row("photo", picture, ("file_ending", "2-D", "one slice")),
    Row("link", dangling, ("broken link", "does not exist")),
    # A datalist that names channels one by one has its way: evaluate takes them.
    Row("many", channels("0000", "0001"), ("2 channels",), verbs=FOLDER_VERBS),
    Row("contrasts", channels("T1w", "FLAIR", "T2"), ("3 channels",), verbs=FOLDER_VERBS),
    Row("shifted", shifted_label, ("3 mm off",), sound_scan=True),
    Row("strange", strange_label, ("77",), sound_scan=True),
)


def named(verb: str) -> list[Row]:
    """Return the rows that a verb has to name."""
    return [row for row in ROWS if verb in row.verbs and not (verb == "predict" and row.sound_scan)]


def assert_named(verb: str, text: str) -> None:
    """Require a line with the reason for every invalid file, and none for a valid one."""
    for row in named(verb):
        lines = [line for line in text.splitlines() if row.name in line]
        text_of_row = "\n".join(lines)
        assert any(word in text_of_row for word in row.words), (row.name, lines)
    for name in (*SOUND, printable(ODD)):
        assert name not in text, name


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write valid pairs (one with a name that is not UTF-8) and invalid ones, as nnU-Net does."""
    root = tmp_path_factory.mktemp("hostile")
    images = root / "imagesTr"
    labels = root / "labelsTr"
    for name in (*SOUND, ODD):
        pair(images, labels, name)
    for row in ROWS:
        row.write(images, labels, row.name)
    labels_of = {"background": 0, "blob": 1}
    content = {"channel_names": {"0": "MRI"}, "labels": labels_of, "file_ending": ".nii"}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_check(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert main(["check", str(hostile), "--output", str(report)]) == 2
    out = capsys.readouterr().out
    errors = "\n".join(line for line in out.splitlines() if line.startswith("error"))
    assert_named("check", errors)
    found = [
        f["message"] for f in json.loads(report.read_text())["findings"] if f["level"] == "error"
    ]
    assert_named("check", "\n".join(found))


def test_split(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "datalist.json"
    arguments = ["--labelled", "4", "--test", "2", "--output", str(output)]
    assert main(["split", str(hostile), *arguments]) == 3
    assert_named("split", capsys.readouterr().err)
    content = json.loads(output.read_text())
    entries = [
        *content["training"],
        *content["unlabeled"],
        *content["validation"],
        *content["test"],
    ]
    images = {Path(entry["image"]).stem for entry in entries}
    assert images == {*SOUND, ODD}
    # The name that is no UTF-8 comes back as the file that it is.
    for entry in entries:
        assert all((hostile / name).is_file() for name in entry.values())
    left_out = "\n".join(f"{name}: {why}" for name, why in content["left_out"].items())
    assert_named("split", left_out)


def test_plan(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "plan.yaml"
    assert main(["plan", str(hostile), "--output", str(output)]) == 3
    assert_named("plan", capsys.readouterr().err)
    assert output.is_file()


def test_predict(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Segment the whole data set: its label maps are no scans."""
    out = tmp_path / "out"
    assert main(["predict", str(hostile), "--output", str(out), "--no_preview", *SMALL]) == 3
    rows = json.loads((out / "report.json").read_text())["cases"]
    bad = [f"{row['input']}: {row['reason']}" for row in rows if row["status"] != "done"]
    images = "\n".join(line for line in bad if "/labelsTr/" not in line.split(": ")[0])
    assert_named("predict", images)
    done = {Path(row["input"]).stem for row in rows if row["status"] == "done"}
    scans = {row.name for row in ROWS if row.sound_scan}
    assert done == {*SOUND, printable(ODD), *scans}
    assert all((out / row["output"]).is_file() for row in rows if row["status"] == "done")
    labels = [row for row in rows if "/labelsTr/" in row["input"] and row["input"].endswith(".nii")]
    assert labels and {row["reason"] for row in labels} == {"a label map, not a scan"}
    with (out / "report.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == len(rows)


def test_evaluate(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluate a datalist that was written by hand, with all scans to be tested."""
    rows = [row.name for row in ROWS if "evaluate" in row.verbs]
    files = [
        file
        for file in sorted((hostile / "imagesTr").iterdir())
        if file.stem in (*SOUND, ODD, *rows)
    ]
    assert len(files) == len(SOUND) + 1 + len(rows)
    entries = [
        {"image": f"imagesTr/{file.name}", "label": f"labelsTr/{file.name}"} for file in files
    ]
    datalist = tmp_path / "datalist.json"
    labels = {"0": "background", "1": "blob"}
    datalist.write_text(json.dumps({"labels": labels, "training": [], "test": entries}))
    arguments = ["--datalist", str(datalist), "--output", str(tmp_path / "eval"), *SMALL]
    assert main(["evaluate", str(hostile), *arguments]) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert_named("evaluate", "\n".join(lines))
    with (tmp_path / "eval" / "metrics.csv").open(encoding="utf-8") as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == {*SOUND, printable(ODD)}
    assert len(json.loads((tmp_path / "eval" / "metrics.json").read_text())["failed"]) == len(rows)
