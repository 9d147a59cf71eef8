"""Detection of label maps among scans: by name first, then by voxels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import collect_warnings

_WORDS = re.compile(
    r"d?segs?|segmentations?|segmentierung(en)?|masken?|masks?|labels?|labelmaps?|lbl|lab|gt"
    r"|rois?|lesions?|tumou?rs?|[gcp]tv|a?seg|(a|wm)?parc|atlas|parcellations?|annotations?"
    r"|probseg|uncertainty",
    re.I,
)
_FOLDERS = re.compile(
    r"(.*[ _.-])?(labels?(tr|ts)?|masks?|segs?|segmentations?|annotations?)|derivatives|gt", re.I
)
_SHARES = re.compile(r"probseg|uncertainty", re.I)  # maps of values from 0 to 1
FEW_VALUES = 2500  # FreeSurfer's atlases name labels up to 2035
_PLAIN = 8  # with so few values, it is a label map without further tests
_SAMPLE = 10_000
_COLOUR_SAMPLE = 2_000


def has_label_name(path: Path) -> bool:
    """Return True if a file name, or the name of a folder, is typical of a label map.

    Args:
        path: path relative to the input; folders above it are not considered.
    """
    words = re.split(r"[^A-Za-z]+", path.name)
    return any(map(_WORDS.fullmatch, words)) or any(map(_FOLDERS.fullmatch, path.parts[:-1]))


def is_label_map(path: Path) -> bool:
    """Return True if a file's voxels are those of a label map; False if it cannot be read."""
    try:
        with collect_warnings():
            array = read_scan(path).array
    except InputError:
        return False
    if _SHARES.search(path.name) and array.min() >= 0 and array.max() <= 1:
        return True
    return looks_like_labels(array)


def looks_like_labels(array: NDArray[Any]) -> bool:
    """Return True if voxels have few, whole values in connected regions.

    A scan has many values, and its neighbouring voxels differ by noise. An image with channels,
    ``(i, j, k, channels)``, is a label map in colours if it has few of them.
    """
    if array.ndim == 4:
        colours = array.reshape(-1, array.shape[3])
        some = colours[:: max(1, len(colours) // _COLOUR_SAMPLE)]
        return _whole(some) and len(np.unique(some, axis=0)) <= _PLAIN
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    if not _whole(sample):
        return False  # most scans end here or in the next lines, at low cost
    values, counts = np.unique(sample, return_counts=True)
    background = values[counts.argmax()]
    if len(values) <= _PLAIN:
        values = np.unique(array)
    few = len(values) <= FEW_VALUES and _whole(array)
    return few and (len(values) <= _PLAIN or _patchy(array, background))


def _whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iub" or bool((values == np.rint(values)).all())


def _patchy(array: NDArray[Any], background: float) -> bool:
    """Return True if most voxels outside the background are equal to their neighbour."""
    first, second = array[:-1], array[1:]
    inside = (first != background) & (second != background)
    return bool(inside.any()) and float((first == second)[inside].mean()) > 0.5
