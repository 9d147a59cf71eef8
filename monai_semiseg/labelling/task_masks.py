"""Mask of a task as a file for its program, on the grid of the image beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.label_files import LabelSource, read_label
from monai_semiseg.datasets.label_rules import PLAIN, LabelRule
from monai_semiseg.images.detached import without_voxel_files
from monai_semiseg.images.formats import detect_format
from monai_semiseg.images.grid import Grid, onto_grid, unit_of
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.inference.outputs import CaseOutputs, Segmented


@dataclass(frozen=True)
class ImageCopy:
    """Hold the image of a task, which lies beside its mask.

    Attributes:
        files: its files, without those of the voxels of a header.
        grid: of its voxels.
        meta: as :class:`~monai_semiseg.images.reader.ScanReader` gives it.
    """

    files: Sequence[Path]
    grid: Grid
    meta: Mapping[str, Any]


def read_copies(
    files: Sequence[Path], channels: Sequence[str] = (), *, stack_pages: bool = False
) -> ImageCopy:
    """Read what the writers of masks need of an image.

    Args:
        files: all files of the image.
        channels: as for :class:`~monai_semiseg.images.reader.ScanReader`.
        stack_pages: likewise.

    Raises:
        InputError: If it cannot be read.
    """
    files = without_voxel_files(files)
    reader = ScanReader(channels=channels, stack_pages=stack_pages)
    voxels, meta = reader.get_data(list(files))
    affine = np.asarray(meta["original_affine"], dtype=np.float64)
    return ImageCopy(files, Grid(tuple(voxels.shape[:3]), affine, unit_of(meta)), meta)


def onto_image(
    source: LabelSource, image: ImageCopy, rule: LabelRule = PLAIN
) -> NDArray[np.integer[Any]]:
    """Read a label onto the grid of an image.

    Args:
        source: label file, or several.
        image: the image.
        rule: how the label is read.

    Raises:
        InputError: If it cannot be read, or lies on another grid.
    """
    found = read_label(source, rule)
    first = source if isinstance(source, str | Path) else source[0]
    return onto_grid(found.array, found.grid, image.grid, Path(first))


def write_task_mask(
    outputs: CaseOutputs,
    name: str,
    image: ImageCopy,
    mask: NDArray[np.integer[Any]],
    flags: Sequence[str] = (),
) -> tuple[Path, list[str]]:
    """Write the mask of a task into its folder, in the kind that the outputs have.

    Args:
        outputs: of the folder of tasks.
        name: of the task.
        image: its image.
        mask: label numbers ``(i, j, k)``.
        flags: reasons to check the mask.

    Returns:
        The file, and remarks.
    """
    first = image.files[0]
    case = Case(f"{name}/{name}", tuple(image.files), first, detect_format(first))
    found = Segmented(mask, image.grid.affine, meta=image.meta, flags=flags)
    return outputs.write(case, found)
