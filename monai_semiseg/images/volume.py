"""One scan in memory, and the checks for all file formats."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import (
    DtypeError,
    GeometryError,
    NonFiniteError,
    SizeError,
)
from monai_semiseg.images.grid import Grid, Unit
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import available_memory

RGB = ("red", "green", "blue")  # channels of colour images
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PARTIAL_FORMAT = "dicom_seg"  # labels that may cover a part of the image
FIELD_OF_VIEW = (1.0, 3000.0)  # smallest and largest extent of a scan along an axis, mm
FINEST_FIELD_OF_VIEW = 0.01  # smallest extent of a 2-D image, which may be of a microscope, mm


class ScanWarning(UserWarning):
    """A warning about a scan that was read, but should be checked."""


@dataclass
class Volume:
    """One image with one or more channels: a 3-D scan, or a 2-D image as a scan of one slice.

    A 2-D image has one voxel along one of its three axes, so that the same code orients, compares
    and restores both. Its axis i runs along the rows of a picture to the right, its axis j down.

    Attributes:
        array: voxels, shape ``(i, j, k)``; or ``(i, j, k, channels)`` if there are ``channels``.
        affine: 4x4, voxel index to mm in RAS; of a picture without a pixel size, the identity.
        meta: further metadata of the format (NIfTI xform codes, DICOM series UID, ...).
        channels: names of the channels, in their order; empty for one channel, without an axis.
        unit: unit of lengths: ``mm``, or ``px`` if the file says no pixel size.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    meta: dict[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    unit: Unit = "mm"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of voxels along i, j, k."""
        return self.array.shape[:3]

    @property
    def spatial_dims(self) -> int:
        """Return 2 for an image of one slice, else 3."""
        return spatial_dims_of(self.shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the voxel size along i, j, k, in ``unit``."""
        a, b, c = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(a), float(b), float(c)

    @property
    def grid(self) -> Grid:
        """Return the grid of the voxels."""
        partial = self.meta.get("format") == PARTIAL_FORMAT
        return Grid(self.shape, self.affine, self.unit, partial)


def itk_geometry(affine: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return an affine, voxel to mm in RAS, as SimpleITK's images and filters take it."""
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return {
        "Origin": lps[:3, 3].tolist(),
        "Spacing": spacing.tolist(),
        "Direction": (lps[:3, :3] / spacing).ravel().tolist(),
    }


def spatial_dims_of(shape: Sequence[int]) -> int:
    """Return 2 if one of three axes has a single voxel, else 3."""
    return 2 if min(shape) == 1 else 3


_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the texts of :func:`warn` in a list within the block; each thread has its own.

    Python's warning filters belong to the whole process: a thread that changes them loses warnings
    of other threads.
    """
    collected: list[str] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def warn(path: Path, code: str, message: str) -> None:
    """Issue a :class:`ScanWarning` that names the file, or add it to :func:`collect_warnings`."""
    text = printable(f"{code} {path}: {message}")
    collected = _collected.get()
    if collected is None:
        warnings.warn(text, ScanWarning, stacklevel=3)
    else:
        collected.append(text)


def check_dtype(dtype: np.dtype[Any], path: Path) -> None:
    """Refuse colour and complex voxels.

    Raises:
        DtypeError: If voxels are not plain integers or floats.
    """
    if dtype.kind not in "iufb":
        raise DtypeError(
            f"voxels of type {dtype}", expected="integers or real numbers, one per voxel", path=path
        )


def check_size(
    shape: tuple[int, ...],
    itemsize: int,
    path: Path,
    *,
    remedy: str = "use a machine with more memory",
) -> None:
    """Refuse a volume that does not fit into memory, before anything is allocated.

    Raises:
        SizeError: If voxels and a float32 copy exceed three quarters of the free memory.
    """
    need = math.prod(int(n) for n in shape) * (itemsize + 4)
    have = available_memory()
    if need > 0.75 * have:
        raise SizeError(
            f"the header claims {'x'.join(map(str, shape))} voxels, {need / 2**30:.1f} GiB to read",
            expected=f"at most {0.75 * have / 2**30:.1f} GiB on this machine",
            remedy=f"check the file; if the size is real, {remedy}",
            path=path,
        )


def check_affine(affine: NDArray[Any], path: Path) -> NDArray[np.float64]:
    """Require a finite, invertible affine.

    Raises:
        GeometryError: If it is not finite, or singular, or an axis has no length.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    axes = matrix[:3, :3]
    if not np.isfinite(matrix).all():
        found = "the affine holds NaN or Inf"
    elif np.linalg.norm(axes, axis=0).min() < 1e-6:
        found = "an axis has zero voxel size"
    elif abs(np.linalg.det(axes / np.linalg.norm(axes, axis=0))) < 1e-3:
        found = "the affine is singular"
    else:
        return matrix
    raise GeometryError(
        found,
        expected="an invertible affine in mm",
        remedy="export the scan again from its source, or correct the header",
        path=path,
    )


def check_field_of_view(volume: Volume, path: Path) -> None:
    """Refuse a scan of an impossible size, before anything is resampled.

    Such a size comes from a voxel size in another unit: resampled to 1 mm, the scan would need
    petabytes, or have no voxel. An axis of one voxel may be thin, as a single slice is.

    Raises:
        GeometryError: If an axis is longer than 3 m, or shorter than 1 mm (0.01 mm in 2-D).
            Pictures without a pixel size have no field of view.
    """
    if volume.unit == "px":
        return
    sizes = [n * mm for n, mm in zip(volume.shape, volume.spacing, strict=True)]
    least, most = FIELD_OF_VIEW
    if volume.spatial_dims == 2:
        least = FINEST_FIELD_OF_VIEW
    several = [mm for n, mm in zip(volume.shape, sizes, strict=True) if n > 1]
    if max(sizes) <= most and min(several, default=least) >= least:
        return
    raise GeometryError(
        f"a field of view of {' x '.join(f'{mm:.3g}' for mm in sizes)} mm",
        expected=f"{least:g} mm to {most / 1000:g} m along each axis",
        remedy="check the voxel size and its unit in the header",
        path=path,
    )


def check_finite(volume: Volume, path: Path, nonfinite: float | None) -> None:
    """Refuse NaN and Inf voxels, or replace them in place by ``nonfinite`` with a warning.

    One NaN is a serious fault: instance normalisation spreads it over the whole patch, and the
    prediction becomes background everywhere without an error.

    Raises:
        NonFiniteError: If there are any and ``nonfinite`` is None.
    """
    if volume.array.dtype.kind != "f":
        return
    bad = ~np.isfinite(volume.array)
    count = int(bad.sum())
    if not count:
        return
    share = f"{count} of {bad.size} voxels are NaN or Inf"
    if nonfinite is None:
        raise NonFiniteError(
            share,
            expected="finite voxels",
            remedy="repair the file, or set the reader's nonfinite value to replace them",
            path=path,
        )
    volume.array[bad] = nonfinite
    warn(path, "W_NONFINITE", f"{share}; replaced by {nonfinite:g}")


def check_constant(volume: Volume, path: Path) -> None:
    """Warn about a volume or a channel without any contrast."""
    channels = np.moveaxis(volume.array, 3, 0) if volume.channels else volume.array[np.newaxis]
    for name, array in zip(volume.channels or ("",), channels, strict=True):
        if array.size > 1 and _is_constant(array):
            which = f" of channel {name}" if name else ""
            warn(path, "W_CONSTANT", f"every voxel{which} is {array.flat[0]}")


def _is_constant(array: NDArray[Any]) -> bool:
    """Return True if all voxels are equal; most images show in their middle slice that not."""
    first = array.flat[0]
    return bool((array[len(array) // 2] == first).all() and (array == first).all())
