"""Scans with faults, and pools of points, to choose from."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_semiseg.labelling.strategies import Pool

SHAPE = (20, 22, 18)


def save(
    path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


def anatomy(rng: np.random.Generator, kind: float = 0.0) -> NDArray[np.float32]:
    """Return a bright box in noise; ``kind`` moves it."""
    voxels = rng.normal(size=SHAPE)
    start = 4 + round(kind)
    voxels[start : start + 8, 6:16, 4:12] += 4
    return voxels.astype(np.float32)


def write_scans(folder: Path, count: int = 16) -> Path:
    """Write sound scans without a label: ``a00``, ``a01``, ..."""
    rng = np.random.default_rng(0)
    for n in range(count):
        save(folder / "images" / f"a{n:02}.nii.gz", anatomy(rng, 4 * (n % 2)))
    return folder


def pool_of(points: NDArray[np.float64], labelled: NDArray[np.float64] | None = None) -> Pool:
    """Return a pool of points, named by their numbers."""
    known = np.zeros((0, points.shape[1])) if labelled is None else labelled
    ids = tuple(f"s{n:03}" for n in range(len(points)))
    return Pool(ids, points, known, np.linspace(0, 1, len(points)))


def blobs(sizes: tuple[int, ...] = (30, 20, 10), spread: float = 0.3) -> NDArray[np.float64]:
    """Return points around (0, 0), (10, 0), (20, 0), ..."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[10.0 * n, 0.0] for n in range(len(sizes))], sizes, axis=0)
    return centres + spread * rng.normal(size=centres.shape)
