"""Headers whose voxels lie in a file beside them: ``.hdr`` and ``.img``, ``.mhd`` and ``.raw``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from monai_semiseg.errors import InputError
from monai_semiseg.images.itk_data import data_layout
from monai_semiseg.images.nifti import pair_voxels

DETACHED = (".mhd", ".nhdr", ".hdr")  # headers whose voxels may lie in a file beside them


def voxel_files(path: Path) -> list[Path]:
    """Return the file that holds the voxels of a header; none if they are in the same file."""
    if voxels := pair_voxels(path):
        return [voxels]
    if path.suffix.lower() not in DETACHED:
        return []
    with suppress(InputError, OSError):  # a bad header fails its case where it is read
        voxels, _, _ = data_layout(path)
        return [voxels] if voxels != path and voxels.is_file() else []
    return []


def without_voxel_files(files: Sequence[Path]) -> list[Path]:
    """Return the files of images that a reader is given: it finds voxels beside their header."""
    voxels = {beside for file in files for beside in voxel_files(file)}
    return [file for file in files if file not in voxels]
