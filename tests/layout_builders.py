"""Data sets of three patients with four channels, the same in every layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import LoadImaged
from PIL import Image

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.images.reader import ScanReader

NAMES = ("FLAIR", "T1", "T1post", "T2")  # as a folder lists them, too
AFFINE = np.diag([2.0, 1.5, 3.0, 1.0])
Array = np.ndarray[Any, Any]


def save(path: Path, array: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, AFFINE)
    image.header["pixdim"][4] = 0  # no time axis
    nib.save(image, path)
    return path


def patient(number: int) -> tuple[Array, Array]:
    """Return channels ``(4, 4, 4, channel)`` that are all different, and a label map."""
    rng = np.random.default_rng(number)
    label = (rng.random((4, 4, 4)) > 0.7).astype(np.uint8)
    label[0, 0, 0] = 1
    return rng.normal(size=(4, 4, 4, 4)).astype(np.float32), label


def folder_a_case(root: Path) -> Path:
    for number in range(3):
        voxels, label = patient(number)
        for channel in (3, 1, 0, 2):
            save(root / f"p{number}" / f"{NAMES[channel]}.nii.gz", voxels[..., channel])
        save(root / f"p{number}" / "lesions.nii.gz", label)
    return root


def nnunet(root: Path) -> Path:
    for number in range(3):
        voxels, label = patient(number)
        for channel in range(4):
            save(root / "imagesTr" / f"p{number}_{channel:04}.nii.gz", voxels[..., channel])
        save(root / "labelsTr" / f"p{number}.nii.gz", label)
    content = {
        "channel_names": {str(n): name for n, name in enumerate(NAMES)},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def decathlon(root: Path) -> Path:
    entries = []
    for number in range(3):
        voxels, label = patient(number)
        image = save(root / "imagesTr" / f"p{number}.nii.gz", voxels)
        save(root / "labelsTr" / image.name, label)
        entries.append({"image": f"./imagesTr/{image.name}", "label": f"./labelsTr/{image.name}"})
    content = {
        "modality": {str(n): name for n, name in enumerate(NAMES)},
        "labels": {"0": "background", "1": "lesion"},
        "training": entries,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def bids(root: Path) -> Path:
    for number in range(3):
        voxels, label = patient(number)
        subject = f"sub-p{number}"
        for channel in (2, 0, 3, 1):
            folder = root / subject / "ses-1" / "anat"
            save(folder / f"{subject}_ses-1_{NAMES[channel]}.nii.gz", voxels[..., channel])
        folder = root / "derivatives" / "by_hand" / subject / "ses-1" / "anat"
        save(folder / f"{subject}_ses-1_desc-lesion_dseg.nii.gz", label)
    return root


def in_one_folder(root: Path) -> Path:
    for number in range(3):
        voxels, label = patient(number)
        for channel in range(4):
            save(root / f"p{number}_{NAMES[channel]}.nii.gz", voxels[..., channel])
        save(root / f"p{number}_seg.nii.gz", label)
    return root


def table(root: Path) -> Path:
    folder_a_case(root / "x")
    rows = [f"id,group,{','.join(f'image.{name}' for name in NAMES)},label"]
    for number in (2, 0, 1):
        files = [f"x/p{number}/{name}.nii.gz" for name in (*NAMES, "lesions")]
        rows.append(",".join([f"p{number}", f"g{number}", *files]))
    (root / "cases.csv").write_text("\n".join(rows) + "\n")
    return root / "cases.csv"


LAYOUTS = (folder_a_case, nnunet, decathlon, bids, in_one_folder, table)


def tensors(dataset: ScanDataset) -> list[tuple[Array, Array]]:
    """Read all cases as the bundles do: MONAI's loader on the entries of a datalist."""
    load = LoadImaged("image", reader=ScanReader(channels=dataset.channel_names))
    found = []
    for case in dataset.cases:
        entry = case.entry()["image"]
        names = [entry] if isinstance(entry, str) else entry
        image = load({"image": [str(dataset.root / name) for name in names]})["image"]
        label = nib.load(dataset.root / str(case.label)).get_fdata()
        found.append((np.asarray(image), label))
    return found


def picture(path: Path, value: int = 0, mode: str = "RGB") -> Path:
    """Write random colours, or with mode ``L`` a mask of 0 and 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (16, 16, 3), np.uint8)
    if mode == "L":
        pixels = (pixels[..., 0] > 128).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path
