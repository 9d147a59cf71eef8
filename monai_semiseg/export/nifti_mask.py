"""Label map as NIfTI, in the scan's own geometry, with the names of its labels."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import mask_dtype
from monai_semiseg.storage.files import write_atomically

# Of the 255 that file systems allow; suffixes and the temporary file's prefix need the rest.
_NAME_BYTES = 200


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
    codes: tuple[int, int] = (1, 1),
) -> Path:
    """Write a label map atomically as .nii.gz.

    Args:
        mask: label numbers, shape ``(i, j, k)``; stored as uint8, or uint16 if one is above 255.
        affine: 4x4, voxel to mm in RAS, of the scan.
        path: the file to write.
        names: number -> name, kept as JSON in a header extension of the comment kind.
        codes: qform and sform codes of the scan; a code of 0 stays 0.

    Raises:
        ConfigError: If a number is not from 0 to 65535.
    """
    dtype = mask_dtype([*names, int(mask.min(initial=0)), int(mask.max(initial=0))])
    text = json.dumps({"labels": {str(index): name for index, name in names.items()}})
    return _write(
        nib.Nifti1Image(mask.astype(dtype), affine), path, codes, "label", "label map", text
    )


def write_map(
    values: NDArray[Any], affine: NDArray[np.float64], path: Path, codes: tuple[int, int] = (1, 1)
) -> Path:
    """Write a map of numbers atomically as .nii.gz.

    Stored as uint8, with the slope and intercept of its range.

    Args:
        values: ``(i, j, k)``.
        affine: as in :func:`write_mask`.
        path: likewise.
        codes: likewise.
    """
    image = nib.Nifti1Image(values.astype(np.float32), affine)
    image.set_data_dtype(np.uint8)
    return _write(image, path, codes, "estimate", "map")


def _write(
    image: nib.Nifti1Image,
    path: Path,
    codes: tuple[int, int],
    intent: str,
    kind: str,
    comment: str = "",
) -> Path:
    affine = image.affine
    qform, sform = codes
    image.header.set_zooms([float(n) for n in np.linalg.norm(affine[:3, :3], axis=0)])
    image.header.set_qform(affine if qform else None, code=qform, strip_shears=True)
    image.header.set_sform(affine if sform else None, code=sform)
    image.header.set_xyzt_units("mm")
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
