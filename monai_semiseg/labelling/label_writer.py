"""Label files in the kind of a dataset: numbers, grey levels, colours, or a file for each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_rules import LabelRule
from monai_semiseg.errors import LabelError
from monai_semiseg.export.nifti_mask import NiftiSpace, write_mask
from monai_semiseg.export.png_mask import exif_orientation, write_png_colours, write_png_mask
from monai_semiseg.export.radiological import is_picture
from monai_semiseg.images.grid import onto_grid
from monai_semiseg.images.volume import Volume

_WHITE = 255


def write_label(
    mask: NDArray[np.int32],
    image: Volume,
    stem: Path,
    names: Mapping[int, str],
    rule: LabelRule,
) -> list[Path]:
    """Write the label files of a case, each atomically, and read them back.

    Pictures get PNG files, scans NIfTI files. Files that exist stay as they are.

    Args:
        mask: label numbers ``(i, j, k)`` in the order of the image's file.
        image: the image, for grid and kind.
        stem: path without a suffix.
        names: number -> name, with ``ignore`` if the mask has such voxels.
        rule: how the dataset's label files are read.

    Returns:
        The files, several if the rule merges them.

    Raises:
        LabelError: If files of this kind cannot hold the mask, or other ones are there.
        OutputError: If the disk is full.
    """
    parts = _parts(mask, image, stem, names, rule)
    for path, values in parts:
        if not path.exists():
            _write(values, image, path, names, rule)
    files = [path for path, _ in parts]
    if not np.array_equal(_read(files, image, rule), mask):
        raise LabelError(
            "differs from the label that came back",
            expected="no label of this case, or the same one",
            remedy="move the file away to collect this case again; files are never overwritten",
            path=files[0],
        )
    return files


def _read(files: Sequence[Path], image: Volume, rule: LabelRule) -> NDArray[np.integer]:
    found = read_label(files, rule)
    return onto_grid(found.array, found.grid, image.grid, files[0])


def _parts(
    mask: NDArray[np.int32], image: Volume, stem: Path, names: Mapping[int, str], rule: LabelRule
) -> list[tuple[Path, NDArray[np.int32]]]:
    """Return the files of a case with the numbers that each of them holds."""
    ending = ".png" if is_picture(image.meta) and image.shape[2] == 1 else ".nii.gz"
    whole = stem.with_name(f"{stem.name}{ending}")
    if rule.colours or (rule.threshold is None and not rule.merge):
        return [(whole, mask)]
    numbers = {number: name for name, number in reversed(list(rule.numbers.items()))}
    numbers = numbers or {rule.foreground: ""}
    _require_binary(mask, numbers, names, whole)
    level = 1 if rule.threshold is None else max(_WHITE, int(rule.threshold) + 1)
    if not rule.merge:
        return [(whole, np.where(mask != 0, level, 0))]
    present = [number for number in numbers if (mask == number).any()] or [min(numbers)]
    return [
        (
            stem.with_name(f"{stem.name}{f'_{numbers[number]}' * bool(numbers[number])}{ending}"),
            np.where(mask == number, level, 0),
        )
        for number in sorted(present)
    ]


def _require_binary(
    mask: NDArray[np.int32], numbers: Mapping[int, str], names: Mapping[int, str], path: Path
) -> None:
    others = sorted(set(np.unique(mask).tolist()) - {0, *numbers})
    if others:
        found = ", ".join(names.get(value, str(value)) for value in others)
        raise LabelError(
            f"{found}: the label files of this dataset cannot hold it",
            expected="files of black and white",
            remedy="a dataset of label numbers can hold voxels to ignore",
            path=path,
        )


def _write(
    values: NDArray[np.int32], image: Volume, path: Path, names: Mapping[int, str], rule: LabelRule
) -> None:
    if rule.colours:
        by_number = {number: colour for colour, number in rule.colour_numbers.items()}
        write_png_colours(values, path, by_number, exif_orientation(image.affine))
        return
    kept = names if int(values.max(initial=0)) in names else {0: "background"}
    if path.name.endswith(".png"):
        write_png_mask(values, path, kept, exif_orientation(image.affine))
        return
    meta = image.meta
    codes = (int(meta.get("qform_code", 1)), int(meta.get("sform_code", 1)))
    space = NiftiSpace(codes, image.unit, int(meta.get("file_axes", 3)))
    write_mask(values, image.affine, path, kept, space)


def with_ignore(rule: LabelRule, number: int) -> LabelRule:
    """Return a rule whose colours include one for voxels to ignore, where labels are colours.

    Args:
        rule: how the dataset's label files are read.
        number: of ``ignore``.

    Raises:
        LabelError: If the colours cannot get this number.
    """
    if not rule.colours or number in rule.colour_names:
        return rule
    if number != len(rule.colour_names):
        raise LabelError(
            f"the number {number} for voxels to ignore",
            expected=f"{len(rule.colour_names)}, the next one of the dataset's colours",
        )
    free = next(
        f"#{value:06x}"
        for value in range(0xFFFFFF, 0, -1)
        if f"#{value:06x}" not in rule.colours.values()
    )
    return replace(rule, colours={**rule.colours, "ignore": free})
