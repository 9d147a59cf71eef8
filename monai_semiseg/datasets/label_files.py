"""Reading of label files by the rule of their dataset: the one place for check and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.datasets.label_checks import (
    count_values,
    grey_error,
    histogram,
    looks_grey,
    whole_labels,
)
from monai_semiseg.datasets.label_colours import (
    numbers_of_colours,
    position,
    require_palette,
    used_colours,
)
from monai_semiseg.datasets.label_names import number_in_file
from monai_semiseg.datasets.label_rules import PLAIN, LabelRule, recorded_rule
from monai_semiseg.datasets.label_segments import names_segments, read_segments_by_name
from monai_semiseg.errors import LabelError
from monai_semiseg.images.dicom_seg_label import is_segmentation_file, read_segmentation
from monai_semiseg.images.grid import Grid, onto_grid
from monai_semiseg.images.picture import read_palette_indices
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import RGB, Volume, collect_warnings, warn

LabelSource = str | Path | Sequence[str | Path]


def read_label(source: LabelSource, rule: LabelRule = PLAIN) -> Volume:
    """Read the label of a case: whole numbers of the dataset on the label's own grid.

    Args:
        source: a file or folder, or several binary files of one case (``rule.merge``).
        rule: the dataset's rule for label files.

    Raises:
        InputError: If a file cannot be read.
        LabelError: If a file holds no numbers by the rule (grey levels, undeclared colours), or
            labels of several files overlap.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    if len(paths) > 1 and not rule.merge:
        raise LabelError(
            f"one of {len(paths)} label files of a case",
            expected="one label file",
            remedy="--merge_masks joins binary files of one case",
            path=paths[0],
        )
    if rule.merge:
        return _merged(paths, rule)
    volume = _read_file(paths[0], rule)
    if rule.threshold is not None:
        return replace(volume, array=_above(volume.array, rule) * np.int64(rule.foreground))
    return replace(volume, array=whole_labels(volume.array, paths[0]))


def read_label_grid(path: Path, rule: LabelRule = PLAIN) -> Grid:
    """Read the grid of a label file; of most formats, the header alone is read.

    Raises:
        InputError: If the header shows that the file cannot be read.
    """
    if is_segmentation_file(path):
        return read_segmentation(path).grid
    return read_grid(path, stack_pages=rule.stack_pages)


class LabelReader(ScanReader):
    """Reader of label files for ``LoadImaged``, see :func:`read_label`.

    In a config: ``{"_target_": "LoadImaged", "keys": "label", "reader":
    "monai_semiseg.datasets.label_files.LabelReader", "datalist": "@datalist"}``.

    Args:
        datalist: split that holds the rule for the label files; None for plain numbers.
    """

    def __init__(self, datalist: str | None = None) -> None:
        super().__init__()
        self.datalist = datalist

    @cached_property
    def rule(self) -> LabelRule:
        """Return the rule of the datalist, which is read with the first label."""
        if self.datalist is None:
            return PLAIN
        return recorded_rule(load_datalist(self.datalist), self.datalist)

    def read_volume(self, paths: list[Path]) -> Volume:
        """Read a label as whole numbers."""
        return read_label(paths, self.rule)


def _read_file(path: Path, rule: LabelRule) -> Volume:
    """Read one file: grey values, or the numbers of colours, palettes and named segments."""
    if names_segments(path):
        return read_segments_by_name(path, rule.numbers)
    if is_segmentation_file(path):
        return read_segmentation(path)
    volume = _read_mask(path, rule)
    picture = volume.meta.get("picture")
    if rule.colours:
        array = numbers_of_colours(volume.array, bool(volume.channels), rule.colour_numbers, path)
        return replace(volume, array=array, channels=())
    if picture and volume.channels and (indices := _indices(path, rule)) is not None:
        return indices
    if volume.channels:
        volume = replace(volume, array=_grey(volume, path), channels=())
    if picture == "JPEG" and rule.threshold is None:
        _require_two_values(volume.array, path)
    return volume


def _read_mask(path: Path, rule: LabelRule) -> Volume:
    """Read a mask; that a colour occurs in no voxel is nothing to warn of."""
    with collect_warnings() as texts:
        volume = read_scan(path, stack_pages=rule.stack_pages)
    for code, _, text in (text.partition(" ") for text in texts):
        if code != "W_CONSTANT" or not volume.channels:
            warn(path, code, text.removeprefix(f"{path}: "))
    return volume


def _indices(path: Path, rule: LabelRule) -> Volume | None:
    """Read the indices of a palette picture; None if it has no palette."""
    entries = read_palette_indices(path)
    if entries is None:
        return None
    indices, colours = entries
    used = used_colours(indices.array, colours)
    require_palette(used, rule, path)
    return replace(indices, meta={**indices.meta, "palette": used})


def _require_two_values(values: NDArray[Any], path: Path) -> None:
    """Refuse a JPEG file with more than black and white: it keeps no exact numbers."""
    counts = count_values(whole_labels(values, path))
    if len({*counts, 0}) > 2:
        raise grey_error(counts, path)


def _grey(volume: Volume, path: Path) -> NDArray[Any]:
    """Return the one channel that an RGB file of equal channels holds."""
    first = volume.array[..., :1]
    if (volume.array == first).all():
        return np.ascontiguousarray(first[..., 0])
    if volume.channels == RGB:
        return numbers_of_colours(volume.array, True, {}, path)
    raise LabelError(
        f"{len(volume.channels)} channels ({', '.join(volume.channels)})",
        expected="a label map of one channel",
        remedy="write the label of every voxel as one number",
        path=path,
    )


def _above(values: NDArray[Any], rule: LabelRule) -> NDArray[np.bool_]:
    return np.asarray(values > rule.threshold)


def _merged(paths: Sequence[Path], rule: LabelRule) -> Volume:
    """Join binary files of one case: the union of each label; labels must not overlap."""
    volume = _binary(paths[0], rule)
    for path in paths[1:]:
        other = _binary(path, rule)
        values = onto_grid(other.array, other.grid, volume.grid, path)
        both = (values != 0) & (volume.array != 0) & (values != volume.array)
        if both.any():
            raise LabelError(
                f"{both.sum()} voxels have another label in the other files of the case, the first "
                f"at {position(both)}",
                expected="labels that do not overlap",
                remedy="correct the files, or give them the name of one label",
                path=path,
            )
        np.copyto(volume.array, values, where=values != 0)
    return volume


def _binary(path: Path, rule: LabelRule) -> Volume:
    """Read a binary file onto the number of its label."""
    volume = _read_file(path, rule)
    if rule.colours:
        return volume
    if rule.threshold is not None:
        inside = _above(volume.array, rule)
    else:
        values = whole_labels(volume.array, path)
        _require_binary(count_values(values), path)
        inside = values != 0
    return replace(volume, array=inside * np.int64(number_in_file(path, rule.numbers)))


def _require_binary(counts: Mapping[int, int], path: Path) -> None:
    if len({*counts, 0}) <= 2:
        return
    if looks_grey(counts):
        raise grey_error(counts, path)
    raise LabelError(
        f"{len(counts)} values: {histogram(counts)}",
        expected="0 and one other value in each of the files of a case",
        remedy="leave --merge_masks out if one file holds all labels of a case",
        path=path,
    )
