"""Several volumes as the channels of one, on the grid of the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from monai_semiseg.errors import ChannelError, DimensionError, GeometryError
from monai_semiseg.images.grid import Grid, corner_distance, onto_grid
from monai_semiseg.images.volume import Volume, itk_geometry, warn

FARTHEST = 10.0  # mm between the centres of two channels
LEAST_OVERLAP = 0.5  # of the first channel's field of view
_SAMPLES = 24  # points along each axis, to measure the overlap


def as_channels(
    volumes: Sequence[Volume], paths: Sequence[Path], names: Sequence[str] = ()
) -> Volume:
    """Return volumes of one channel each as the channels of one volume.

    A channel on another grid is resampled onto the first one's, linearly, with a remark that says
    the largest distance between corners. Where it has no voxels, it gets its least value.

    Args:
        volumes: the channels, in their order.
        paths: a path of each, for remarks and errors.
        names: names of the channels; numbers by default.

    Raises:
        ChannelError: If not every one has a name.
        DimensionError: If one of them has several channels itself.
        GeometryError: If one lies elsewhere, or overlaps less than half of the first.
    """
    if names and len(names) != len(volumes):
        raise ChannelError(
            f"{len(volumes)} files for {len(names)} channels ({', '.join(names)})",
            expected="one file for each channel",
            path=paths[0],
        )
    for volume, path in zip(volumes, paths, strict=True):
        if volume.channels:
            raise DimensionError(
                f"{len(volume.channels)} channels in one of {len(volumes)} files of an image",
                expected="one channel in each file",
                remedy="give this file alone, or split it into files of one channel",
                path=path,
            )
    first = volumes[0]
    arrays = [first.array]
    for volume, path in zip(volumes[1:], paths[1:], strict=True):
        arrays.append(_on_grid_of(first, volume, path, paths[0]))
    one_type = len({array.dtype for array in arrays}) == 1
    dtype = first.array.dtype if one_type else np.dtype(np.float32)
    stacked = np.empty((*first.shape, len(arrays)), dtype)
    for number, array in enumerate(arrays):
        stacked[..., number] = array
    channels = tuple(names) or tuple(str(number) for number in range(len(arrays)))
    return Volume(stacked, first.affine, first.meta, channels, first.unit)


def _on_grid_of(first: Volume, volume: Volume, path: Path, first_path: Path) -> NDArray[Any]:
    try:
        return onto_grid(volume.array, volume.grid, first.grid, path)
    except GeometryError as error:
        if "px" in (first.unit, volume.unit):
            raise GeometryError(
                f"{_size(volume)} pixels, but {_size(first)} in {first_path.name}",
                expected="one size for all channels of a picture",
                path=path,
            ) from error
    _require_near(first.grid, volume.grid, path, first_path)
    distance = corner_distance(volume.grid, first.grid)
    warn(
        path,
        "W_CHANNEL_GRID",
        f"on another grid, corners up to {distance:.3g} mm apart; "
        f"resampled (linear) onto that of {first_path.name}",
    )
    return _resampled(volume, first, path)


def _require_near(first: Grid, other: Grid, path: Path, first_path: Path) -> None:
    apart = float(np.linalg.norm(_centre(first) - _centre(other)))
    overlap = _overlap(first, other)
    if apart <= FARTHEST and overlap >= LEAST_OVERLAP:
        return
    raise GeometryError(
        f"lies {apart:.3g} mm from {first_path.name} (centre to centre), "
        f"and covers {overlap:.0%} of it",
        expected=f"channels of one place: at most {FARTHEST:g} mm, at least {LEAST_OVERLAP:.0%}",
        remedy="check that the files are of one patient and session, or register them first",
        path=path,
    )


def _centre(grid: Grid) -> NDArray[np.float64]:
    return np.asarray(apply_affine(grid.affine, (np.array(grid.shape) - 1) / 2))


def _overlap(first: Grid, other: Grid) -> float:
    """Return the part of the first field of view that the other one covers."""
    axes = [(np.arange(_SAMPLES) + 0.5) / _SAMPLES * size - 0.5 for size in first.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    index = apply_affine(np.linalg.inv(other.affine) @ first.affine, points)
    inside = (index >= -0.5) & (index <= np.array(other.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def _resampled(volume: Volume, first: Volume, path: Path) -> NDArray[np.float32]:
    import SimpleITK as sitk

    resample = sitk.ResampleImageFilter()
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetDefaultPixelValue(float(volume.array.min()))
    try:
        resample.SetSize([int(n) for n in first.shape])
        for name, values in itk_geometry(first.affine).items():
            getattr(resample, f"SetOutput{name}")(values)
        image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.T, dtype=np.float32))
        for name, values in itk_geometry(volume.affine).items():
            getattr(image, f"Set{name}")(values)
        array = sitk.GetArrayFromImage(resample.Execute(image)).T
    except RuntimeError as error:
        raise GeometryError(
            "on another grid, whose axes are not at right angles",
            expected="channels on one grid, or on grids with axes at right angles",
            path=path,
        ) from error
    return np.asarray(array, dtype=np.float32)


def _size(volume: Volume) -> str:
    return " x ".join(str(n) for n in volume.shape[: volume.spatial_dims])
