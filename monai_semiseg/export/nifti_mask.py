"""Label map as NIfTI, in the scan's own geometry, with the names of its labels."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import background_of, compact_mask
from monai_semiseg.images.grid import Unit
from monai_semiseg.storage.files import write_atomically

# Of the 255 that file systems allow; suffixes and the temporary file's prefix need the rest.
_NAME_BYTES = 200


@dataclass(frozen=True)
class NiftiSpace:
    """Hold what a header says of the space of its voxels, beside the affine.

    Attributes:
        codes: qform and sform codes of the scan; a code of 0 stays 0.
        unit: ``px`` if nobody knows the size of a pixel; the header then names no unit.
        axes: number of axes of the scan's own file; a slice is written with 2 or 3.
    """

    codes: tuple[int, int] = (1, 1)
    unit: Unit = "mm"
    axes: int = 3


SCANNER = NiftiSpace()


def file_stem(name: str) -> str:
    """Return a case's name as the stem of a file name; a name too long is cut and gets a hash."""
    if len(name.encode()) <= _NAME_BYTES:
        return name
    short = name.encode()[: _NAME_BYTES - 9].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_mask(
    mask: NDArray[Any],
    affine: NDArray[np.float64],
    path: Path,
    names: Mapping[int, str],
    space: NiftiSpace = SCANNER,
) -> Path:
    """Write a label map atomically as .nii.gz.

    Args:
        mask: label numbers, shape ``(i, j, k)``; stored as uint8, or uint16 if one is above 255;
            as int16 if the background is negative.
        affine: 4x4, voxel to mm in RAS, of the scan.
        path: the file to write.
        names: number -> name, kept as JSON in a header extension of the comment kind.
        space: what the header says of the scan's space.

    Raises:
        ConfigError: If a number is not from the background's to 65535.
    """
    numbers = compact_mask(mask, names, background_of(names))
    text = json.dumps({"labels": {str(index): name for index, name in names.items()}})
    image = nib.Nifti1Image(_with_axes(numbers, space.axes), affine)
    return _write(image, path, space, "label", "label map", text)


def write_map(
    values: NDArray[Any], affine: NDArray[np.float64], path: Path, space: NiftiSpace = SCANNER
) -> Path:
    """Write a map of numbers atomically as .nii.gz.

    Stored as uint8, with the slope and intercept of its range.

    Args:
        values: ``(i, j, k)``.
        affine: as in :func:`write_mask`.
        path: likewise.
        space: likewise.
    """
    image = nib.Nifti1Image(_with_axes(values.astype(np.float32), space.axes), affine)
    image.set_data_dtype(np.uint8)
    return _write(image, path, space, "estimate", "map")


def _with_axes(array: NDArray[Any], axes: int) -> NDArray[Any]:
    """Return a slice ``(i, j, 1)`` with two axes if its file has two."""
    return array[:, :, 0] if axes == 2 and array.shape[2] == 1 else array


def _write(
    image: nib.Nifti1Image,
    path: Path,
    space: NiftiSpace,
    intent: str,
    kind: str,
    comment: str = "",
) -> Path:
    affine = image.affine
    qform, sform = space.codes
    zooms = voxel_sizes(affine).tolist()
    image.header.set_zooms(zooms[: len(image.shape)])
    image.header.set_qform(affine if qform else None, code=qform, strip_shears=True)
    image.header.set_sform(affine if sform else None, code=sform)
    image.header.set_xyzt_units("unknown" if space.unit == "px" else "mm")
    image.header.set_intent(intent)
    image.header["descrip"] = f"monai_semiseg {kind}, research use".encode()
    if comment:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment.encode()))
    # Without a time stamp in the gzip header the same mask gives the same bytes.
    return write_atomically(path, gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def read_label_names(path: Path) -> dict[int, str]:
    """Return the label names that :func:`write_mask` stored; empty if the file has none."""
    for extension in nib.load(path).header.extensions:
        try:
            content = json.loads(bytes(extension.get_content()).rstrip(b"\0"))
        except (ValueError, TypeError):
            continue
        if isinstance(content, dict) and "labels" in content:
            return {int(index): str(name) for index, name in content["labels"].items()}
    return {}
