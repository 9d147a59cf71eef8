"""Files of a converted data set: links to what can stay as it is, new files for the rest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import class_lookup, mask_dtype
from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.formats import picture_kind
from monai_semiseg.images.picture_file import pillow_layout
from monai_semiseg.images.volume import Volume


def file_ending(path: Path) -> str:
    """Return the suffix of a file, ``.nii.gz`` included, in lower case; empty for a folder."""
    name = path.name.lower()
    if path.is_dir():
        return ""
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def is_picture(path: Path) -> bool:
    """Return True if a file is a 2-D picture, by its first bytes."""
    return path.is_file() and bool(picture_kind(path))


def is_plain_png(path: Path) -> bool:
    """Return True for a PNG that holds its pixels as they are shown.

    It has grey or RGB values, no palette and no alpha, and no tag turns it: nnU-Net ignores the
    tag.
    """
    from PIL.PngImagePlugin import PngImageFile

    if picture_kind(path) != "PNG":
        return False
    with PngImageFile(path) as picture:  # Image.open refuses large pictures
        plain = picture.mode in ("L", "RGB", "I;16")
    return plain and pillow_layout(path, "PNG").orientation == 1


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def channels_of(volume: Volume) -> list[Volume]:
    """Return a volume for each channel."""
    if not volume.channels:
        return [volume]
    return [
        replace(volume, array=volume.array[..., number], channels=())
        for number in range(len(volume.channels))
    ]


def write_image(volume: Volume, target: Path) -> None:
    """Write a volume as NIfTI, channels along the fourth axis, or as PNG by the file's suffix.

    Raises:
        UnsupportedError: If a PNG cannot hold the voxels.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix.lower() == ".png":
        _write_png(volume, target)
    else:
        _write_nifti(volume, target)


def _write_nifti(volume: Volume, target: Path) -> None:
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = nib.Nifti1Image(array, volume.affine, dtype=array.dtype)
    image.header.set_xyzt_units(xyz="mm" if volume.unit == "mm" else "unknown")
    if array.ndim == 4:
        image.header["pixdim"][4] = 0  # the fourth axis is no time
    image.set_sform(volume.affine, code=int(volume.meta.get("sform_code") or 1))
    image.set_qform(volume.affine, code=int(volume.meta.get("qform_code") or 1))
    nib.save(image, target)


def _write_png(volume: Volume, target: Path) -> None:
    """Write a picture as a viewer shows it; axis i runs to the right, axis j down."""
    from PIL import Image

    axes = nib.orientations.io_orientation(volume.affine)
    shown = nib.orientations.apply_orientation(volume.array, axes)
    pixels = np.swapaxes(shown[:, :, 0], 0, 1)
    if shown.shape[2] != 1 or pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim > 3:
        raise UnsupportedError(
            f"pixels of type {pixels.dtype}, shape {'x'.join(map(str, volume.array.shape))}",
            expected="8 or 16 bits, which a PNG can hold",
            remedy="convert to the layout of the Decathlon, which keeps the files",
            path=target,
        )
    Image.fromarray(np.ascontiguousarray(pixels)).save(target)


def mapped(values: NDArray[Any], numbers: Sequence[int]) -> NDArray[np.unsignedinteger[Any]]:
    """Return a label map with consecutive numbers: the place of each value in ``numbers``."""
    return np.asarray(class_lookup(numbers)[values], mask_dtype(range(len(numbers))))
