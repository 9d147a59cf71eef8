"""Tiny scans with known masks, and a runner whose network is a threshold with two sides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    Spacingd,
)
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from torch import nn

from monai_semiseg.images.reader import ScanReader
from monai_semiseg.inference.runner import BatchRunner
from tests.scan_builders import empty_slice

NAMES = {"0": "background", "1": "left", "2": "right"}
PATIENT = {
    "PatientName": "CANARY^NAME",
    "PatientID": "CANARY-4711",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "CANARYACC",
    "ReferringPhysicianName": "CANARY^DOCTOR",
    "StudyID": "CANARYSTUDY",
    "InstitutionName": "CANARY HOSPITAL",
    "StudyDate": "19040506",
    "SeriesDescription": "CANARY^SERIES",
    "StudyDescription": "CANARY^STUDY",
    "PatientComments": "CANARY comment",
    "ProtocolName": "CANARY protocol",
}


class Sides(nn.Module):
    """Network that labels voxels above a level: 1 in the first half of axis 0 (left), else 2.

    Without ``split`` all of them are 1, so that a label does not depend on the patch.
    """

    def __init__(self, split: bool = True) -> None:
        super().__init__()
        self.split = split
        self.level = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        above = (x - self.level) * 1000
        first = (torch.arange(x.shape[2]) < x.shape[2] / (2 if self.split else 1)).reshape(
            1, 1, -1, 1, 1
        )
        return torch.cat(
            [-above, torch.where(first, above, -1e4), torch.where(first, -1e4, above)], 1
        )


def expected(array: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the mask that :class:`Sides` must give on the scan's own grid, by nibabel alone."""
    to_ras = nib.orientations.io_orientation(affine)
    ras = nib.orientations.apply_orientation(array, to_ras)
    half = (np.arange(len(ras)) < len(ras) / 2)[:, None, None]
    mask = np.where(ras > 0.5, np.where(half, 1, 2), 0)
    back = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), to_ras)
    return np.asarray(nib.orientations.apply_orientation(mask, back))


def values(shape: Sequence[int], seed: int = 0) -> NDArray[np.float32]:
    """Return random voxels, none of them near the level."""
    rng = np.random.default_rng(seed)
    return (rng.random(shape) * 0.4 + rng.integers(0, 2, shape) * 0.6).astype(np.float32)


def write_nifti(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64] | None = None,
    codes: tuple[int, int] = (1, 1),
) -> Path:
    """Write a scan; the default affine is straight RAS with voxels of 1 mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = np.eye(4) if affine is None else affine
    image = nib.Nifti1Image(array, matrix)
    image.header.set_qform(matrix if codes[0] else None, code=codes[0])
    image.header.set_sform(matrix if codes[1] else None, code=codes[1])
    nib.save(image, path)
    return path


def write_dicom(
    folder: Path, array: NDArray[Any], spacing: Sequence[float] = (1.0, 1.0, 1.0), **tags: Any
) -> NDArray[np.float64]:
    """Write an axial MR series of a scan (column, row, slice) with values in 0..1.

    Returns its affine in RAS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uids = ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    shared = {name: generate_uid() for name in uids}
    for k in range(array.shape[2]):
        dataset = empty_slice(**shared)
        dataset.Modality = "MR"
        dataset.SeriesNumber = 1
        dataset.InstanceNumber = array.shape[2] - k
        dataset.Columns, dataset.Rows = array.shape[:2]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.SliceThickness = spacing[2]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-20.0, -30.0, k * spacing[2]]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = 0
        dataset.RescaleSlope = 0.001
        dataset.RescaleIntercept = 0.0
        dataset.PixelData = np.round(array[:, :, k].T * 1000).astype("<u2").tobytes()
        for name, value in {**PATIENT, **tags}.items():
            setattr(dataset, name, value)
        dataset.save_as(folder / f"{k:03}.dcm", enforce_file_format=True)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = (20.0, 30.0, 0.0)
    return affine


def orientations() -> list[NDArray[np.float64]]:
    """Return all 48 orders and directions of three axes, in nibabel's form."""
    turns = []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turns.append(np.array(list(zip(axes, signs, strict=True)), dtype=float))
    return turns


def rotation(k: float, i: float) -> NDArray[np.float64]:
    """Return a rotation about the last axis after one about the first, angles in radians."""
    about_k = np.array([[np.cos(k), -np.sin(k), 0], [np.sin(k), np.cos(k), 0], [0, 0, 1]])
    about_i = np.array([[1, 0, 0], [0, np.cos(i), -np.sin(i)], [0, np.sin(i), np.cos(i)]])
    return about_k @ about_i


def preprocessing_to(spacing: Sequence[float] | None, **settings: Any) -> Compose:
    """Load a scan, turn it to RAS and, if there is a spacing, resample it."""
    steps: list[Any] = [
        LoadImaged("image", **settings),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=None),
    ]
    return Compose(steps + ([Spacingd("image", pixdim=spacing)] if spacing else []))


def usual_postprocessing(preprocessing: Compose) -> Compose:
    """Bring probabilities back to the scan's grid and take the label there, by MONAI alone."""
    back = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True)
    return Compose([Activationsd("pred", softmax=True), back, AsDiscreted("pred", argmax=True)])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(Sides().state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def make_runner(tmp_path: Path, weights: Path) -> Callable[..., BatchRunner]:
    """Return a runner from ``tmp_path/in`` to ``tmp_path/out``, built as in inference.json."""

    def make(spacing: Sequence[float] | None = None, **settings: Any) -> BatchRunner:
        preprocessing = preprocessing_to(spacing, reader=ScanReader)
        defaults: dict[str, Any] = {
            "network": Sides(),
            "weights": str(weights),
            "preprocessing": preprocessing,
            "inferer": SimpleInferer(),
            "postprocessing": usual_postprocessing(preprocessing),
            "inputs": str(tmp_path / "in"),
            "output_dir": str(tmp_path / "out"),
            "label_names": NAMES,
            "preview": False,
        }
        return BatchRunner(**{**defaults, **settings})

    return make


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """Return the functions above.

    Test modules cannot import from each other (import mode importlib).
    """
    builders = (expected, values, write_nifti, write_dicom, orientations, Sides)
    return SimpleNamespace(**{one.__name__: one for one in builders})
