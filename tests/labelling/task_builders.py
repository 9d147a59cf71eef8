"""Datasets of tiny images of every kind, tasks made of them, and masks as labellers save them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers import SimpleInferer
from PIL import Image

from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.labelling.hand_out import hand_out
from monai_semiseg.labelling.proposal import Proposal, begin
from monai_semiseg.labelling.tasks import Task, TaskFolder
from monai_semiseg.transforms.restore import LabelOnScanGridd
from tests.runner_builders import NAMES, Sides, preprocessing_to, values, write_dicom, write_nifti

AFFINE = np.array([[-1.0, 0, 0, 9], [0, -1.2, 0, 8], [0, 0, 2.5, -4], [0, 0, 0, 1]])
SHAPE = (6, 5, 8)
LABELS = {0: "background", 1: "left", 2: "right"}
LAYOUT: dict[str, Any] = {
    "channels": None,
    "label": None,
    "group": None,
    "table": None,
    "stack_pages": False,
    "label_threshold": None,
    "merge_masks": False,
}


def write_scans(folder: Path, count: int = 3, shape: Sequence[int] = SHAPE) -> Path:
    """Write NIfTI scans ``a``, ``b``, ... without labels; return the folder of the dataset."""
    for number in range(count):
        name = "abcdefghij"[number]
        write_nifti(folder / "images" / f"{name}.nii.gz", values(shape, number), AFFINE)
    return folder


def write_pictures(folder: Path, count: int = 3) -> Path:
    """Write grey PNG pictures ``a``, ``b``, ... of 7 columns and 9 rows."""
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        pixels = (values((9, 7), number) > 0.5).astype(np.uint8) * 200 + 20
        Image.fromarray(pixels).save(folder / "images" / f"{'abcdefgh'[number]}.png")
    return folder


def write_series(folder: Path, count: int = 2) -> Path:
    """Write DICOM series in the folders ``a``, ``b``, ... ."""
    for number in range(count):
        name = "abcdefghij"[number]
        write_dicom(folder / name, values(SHAPE, number), (1.0, 1.2, 2.5))
    return folder


class Levels(Sides):
    """:class:`Sides` for pictures: 1 above a grey level, and never 2."""

    def __init__(self) -> None:
        super().__init__(split=False)
        torch.nn.init.constant_(self.level, 100.0)


def run_of(proposal: Proposal, network: Sides) -> BatchRunner:
    """Segment the scans of a proposal by a threshold."""
    weights = proposal.folder.with_name(f"{proposal.folder.name}.pt")
    torch.save(network.state_dict(), weights)
    runner = BatchRunner(
        network,
        str(weights),
        preprocessing_to(None, reader=ScanReader),
        SimpleInferer(),
        LabelOnScanGridd("pred", orig_keys="image", uncertainty_key="uncertainty"),
        str(proposal.scans),
        str(proposal.masks),
        NAMES,
        preview=False,
    )
    runner.run()
    return runner


def make_tasks(
    dataset: Path, folder: Path, format: str = "seg.nrrd", network: Sides | None = None
) -> TaskFolder:
    """Propose masks for all cases of a dataset."""
    found = open_dataset(dataset)
    proposal = begin(folder, found, found.cases, format=format, layout=LAYOUT)
    return hand_out(proposal, run_of(proposal, network or Sides()))


def task_of(tasks: TaskFolder, case: str) -> Task:
    (found,) = (task for task in tasks.tasks if task.id == case)
    return found


def proposal_of(tasks: TaskFolder, case: str) -> np.ndarray:
    """Return the label numbers of a proposal, (i, j, k), by nibabel or Pillow alone."""
    path = tasks.folder / task_of(tasks, case).proposal
    if path.name.endswith(".png"):
        return np.asarray(Image.open(path)).T[:, :, np.newaxis]
    return np.asarray(nib.load(path).dataobj)


def save_nrrd(
    path: Path,
    like: Path,
    layers: Sequence[np.ndarray],
    segments: Sequence[tuple[str, int, int]],
) -> Path:
    """Write a ``.seg.nrrd`` of layers (i, j, k) and segments (name, value, layer)."""
    several = len(layers) > 1
    array = np.stack(layers, axis=-1) if several else layers[0]
    image = sitk.GetImageFromArray(np.swapaxes(array, 0, 2).astype(np.uint8), isVector=several)
    image.CopyInformation(sitk.ReadImage(str(like)))
    for number, (name, value, layer) in enumerate(segments):
        fields = {"ID": f"S{number}", "Name": name, "LabelValue": value, "Layer": layer}
        for key, text in fields.items():
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path
