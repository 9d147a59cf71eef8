"""One labelled phantom, stored in every order and direction of axes: each step gives one result.

48 NIfTI pairs and all 24 orders that DICOM can express, the label in another order than the image,
as NIfTI or as a DICOM series.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.fingerprint import extract_fingerprint
from monai_semiseg.datasets.plan import Wishes, plan
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.images.grid import in_ras_order, onto_grid
from monai_semiseg.images.scan import read_scan
from tests.runner_builders import orientations, rotation

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "semisupervised_baselines"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACING = [1.0, 1.2, 1.6]
ORDERS = orientations()


def affine() -> NDArray[np.float64]:
    """Return a slightly oblique affine."""
    turn = rotation(0.2, 0.1)
    return np.asarray(nib.affines.from_matvec(turn @ np.diag(SPACING), [-31.0, 12.0, 55.0]))


def phantom() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return an image and a label without symmetry, with little noise for a threshold."""
    label = np.zeros((16, 13, 11), np.int16)
    label[2:7, 3:9, 4:8] = 1
    label[9:14, 1:5, 2:9] = 2
    label[5, 10, 1:6] = 2
    noise = np.random.default_rng(0).normal(0, 30, label.shape)
    return (100 * label + noise).astype(np.int16), label


def stored(
    voxels: NDArray[np.int16], order: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return voxels and affine of the same phantom in another order."""
    turned = nib.orientations.apply_orientation(voxels, order)
    return turned, affine() @ nib.orientations.inv_ornt_aff(order, voxels.shape)


def write_nifti(path: Path, voxels: NDArray[np.int16], order: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(*stored(voxels, order)), path)


def write_dicom(
    folder: Path, voxels: NDArray[np.int16], order: NDArray[np.float64], make: SimpleNamespace
) -> None:
    folder.mkdir(parents=True)
    turned, place = stored(voxels, order)
    lps = LPS_TO_RAS @ place
    across = lps[:3, 0]
    down = lps[:3, 1]
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    uid = generate_uid()
    for k in range(turned.shape[2]):
        data = make.slice(
            uid,
            [*(across / sizes[0]), *(down / sizes[1])],
            (lps @ [0, 0, k, 1])[:3],
            [round(float(size), 8) for size in (sizes[1], sizes[0])],
            (turned.shape[1], turned.shape[0]),
        )
        data.PixelData = np.ascontiguousarray(turned[:, :, k].T).astype("<i2").tobytes()
        data.save_as(folder / f"{k}.dcm", enforce_file_format=True)


def right_handed() -> list[NDArray[np.float64]]:
    """Return orders whose third axis is the cross product of the first two, as for slices."""
    shape = phantom()[0].shape
    inverses = [nib.orientations.inv_ornt_aff(order, shape) for order in ORDERS]
    return [
        order
        for order, inverse in zip(ORDERS, inverses, strict=True)
        if np.linalg.det((affine() @ inverse)[:3, :3]) > 0
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Path:
    """Write the phantom as ``plain``, and in all orders of the axes."""
    root = tmp_path_factory.mktemp("phantoms")
    image, label = phantom()
    write_nifti(root / "images" / "plain.nii", image, ORDERS[0])
    write_nifti(root / "labels" / "plain.nii", label, ORDERS[0])
    for n, order in enumerate(ORDERS):
        write_nifti(root / "images" / f"n{n:02}.nii", image, order)
        write_nifti(root / "labels" / f"n{n:02}.nii", label, ORDERS[(5 * n + 1) % 48])
    for n, order in enumerate(right_handed()):
        write_dicom(root / "images" / f"d{n:02}", image, order, make)
        if n % 2:
            write_nifti(root / "labels" / f"d{n:02}.nii", label, ORDERS[(7 * n + 1) % 48])
        else:
            other = right_handed()[(5 * n + 3) % 24]
            write_dicom(root / "labels" / f"d{n:02}", label, other, make)
    return root


def test_check_finds_one_scan_73_times(dataset: Path) -> None:
    report = check_dataset(open_dataset(dataset), progress=False)
    assert [(finding.code, finding.level) for finding in report.findings] == [
        ("W_DOUBLE", "warning")
    ]
    assert len(report.cases) == 73
    assert len({json.dumps(facts.labels) for facts in report.cases}) == 1
    assert np.ptp([facts.size for facts in report.cases], axis=0).max() < 1e-4


def test_split_leaves_none_out(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--labelled", "20", "--test", "30", "--output", str(tmp_path / "datalist.json")]
    assert main(["split", str(dataset), *options]) == 0
    said = capsys.readouterr()
    assert "18 training, 23 unlabeled, 2 validation, 30 test" in said.out
    assert said.err == ""


def test_every_order_gives_one_plan(dataset: Path) -> None:
    # Only DICOM says what it is: as declared, so that the files of both formats are planned alike.
    opened = replace(open_dataset(dataset), modality="MR")
    plans = []
    for case in opened.cases:
        found = extract_fingerprint(replace(opened, cases=[case]), progress=False)
        assert found.unread == {} and found.foreground_percentiles is not None
        settings = plan(found, Wishes(modality="MR"), memory=4 << 30)
        plans.append(json.dumps(settings, default=str, sort_keys=True))
    assert len(set(plans)) == 1, set(plans)


def test_every_order_gives_one_training_item(dataset: Path) -> None:
    settings = {"dataset_dir": str(dataset), "spacing": SPACING, "padded_size": [16, 16, 16]}
    workflow = open_workflow(BUNDLE, "train", settings)
    workflow.parser["train#dataset#data"] = []
    preprocess = workflow.parser.get_parsed_content("train#preprocessing")
    items = [
        preprocess({"image": str(dataset / case.image), "label": str(dataset / str(case.label))})
        for case in open_dataset(dataset).cases
    ]
    plain = items[-1]
    assert torch.unique(plain["label"]).tolist() == [0, 1, 2]
    for item in items:
        assert torch.equal(item["label"].as_tensor(), plain["label"].as_tensor())
        assert torch.allclose(item["image"].as_tensor(), plain["image"].as_tensor(), atol=1e-3)


def test_every_order_gives_one_score(dataset: Path, tmp_path: Path) -> None:
    """Use a linear network that chooses the class with the nearest mean intensity."""
    means = torch.tensor([0.0, 100.0, 200.0])
    weights = {"weight": means.reshape(3, 1, 1, 1, 1), "bias": -(means**2) / 2}
    torch.save(weights, tmp_path / "model.pt")
    conv: dict[str, Any] = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 3}
    overlay = {
        "network_def": {**conv, "kernel_size": 1},
        "intensity": {"_target_": "Identityd", "keys": "image"},
        "spacing": SPACING,
        "patch_size": [16, 16, 16],
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    entries = [case.entry() for case in open_dataset(dataset).cases]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "test": entries}))
    command = ["evaluate", str(dataset), "--bundle", str(BUNDLE), "--device", "cpu"]
    command += ["--datalist", str(tmp_path / "datalist.json"), "--output", str(tmp_path / "out")]
    command += ["--weights", str(tmp_path / "model.pt"), "--config", str(tmp_path / "overlay.yaml")]
    assert main(command) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert len({row["case"] for row in rows}) == 73
    for index in ("1", "2"):
        scores = np.array(
            [[float(v) for v in list(row.values())[3:]] for row in rows if row["class"] == index]
        )
        assert 0.5 < scores[-1, 0] < 0.99
        assert np.ptp(scores, axis=0).max() < 2e-3, scores


def test_every_order_gives_one_segmentation_object(dataset: Path, tmp_path: Path) -> None:
    expected = phantom()[1]
    names = {0: "background", 1: "a", 2: "b"}
    opened = [case for case in open_dataset(dataset).cases if case.id.startswith("d")]
    assert len(opened) == 24
    for case in opened:
        image = read_scan(dataset / case.image)
        label = read_scan(dataset / str(case.label))
        mask = onto_grid(label.array, label.grid, image.grid).astype(np.uint8)
        files = sorted((dataset / case.image).iterdir())
        path = write_segmentation(mask, image.affine, files, tmp_path / "seg.dcm", names)
        volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
        voxels = in_ras_order(np.asarray(volume.array), LPS_TO_RAS @ volume.affine)
        # Frames without a label are left out of the object.
        assert np.array_equal(_cropped(voxels), _cropped(expected)), case.id


def _cropped(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the bounding box of all labelled voxels."""
    where = np.argwhere(voxels > 0)
    return voxels[tuple(slice(a, b + 1) for a, b in zip(where.min(0), where.max(0), strict=True))]
