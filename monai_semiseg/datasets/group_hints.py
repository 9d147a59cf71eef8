"""Hints that images belong to one patient although nobody declares groups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.check_report import CaseFacts, Finding
from monai_semiseg.images.grid import in_ras_order
from monai_semiseg.images.volume import Volume

_SIDE = 16  # voxels of a thumbnail along an axis
ALIKE = 0.995  # correlation of two thumbnails; of different dermoscopy images it is below 0.99
_BLOCK = 1024
# patient1_a, patient1_2, sub-01_ses-02, 0007_scan3: a part with a number, then a short part.
_PART = re.compile(
    r"(?P<patient>.*\d.*?)[ _.-]+(?P<part>[a-z]|\d{1,2}|(ses|session|visit|scan|time|tp|v|t|slice|"
    r"frame|img|image|view|left|right|l|r)[ _.-]?\d*)",
    re.IGNORECASE,
)
_ADVICE = "name the patients with --group REGEX or in a table, so that no patient is on two sides"


def thumbnail(volume: Volume) -> NDArray[np.float32]:
    """Return an image at a few voxels, with mean 0 and length 1; all 0 if it is constant."""
    small = in_ras_order(volume.array, volume.affine)
    for axis in range(3):
        size = small.shape[axis]
        step = max(1, size // (4 * _SIDE))  # a part of the voxels, whose means say enough
        small = np.take(small, range(0, size, step), axis)
        blocks = min(_SIDE, small.shape[axis])
        starts = np.arange(blocks) * small.shape[axis] // blocks
        counts = np.diff([*starts, small.shape[axis]])
        sums = np.add.reduceat(small, starts, axis, dtype=np.float32)
        small = sums / np.expand_dims(counts, [n for n in range(small.ndim) if n != axis])
    # One length for all images of a kind, so that those of another size can be compared as well.
    flat = np.resize(small, 3 * _SIDE**2 if volume.spatial_dims == 2 else _SIDE**3).ravel()
    return unit_length(flat)


def unit_length(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a vector with mean 0 and length 1; all 0 if it is constant.

    The dot product of two of them is their correlation.
    """
    centred = vector - vector.mean()
    length = float(np.linalg.norm(centred))
    return np.asarray(centred / length if length > 0 else 0 * centred, np.float32)


def undeclared_groups(facts: Sequence[CaseFacts]) -> list[Finding]:
    """Warn about ids with a shared stem, and about images that are nearly the same."""
    if any(fact.case.group for fact in facts):
        return []
    findings = []
    if stems := _shared_stems([fact.case.id for fact in facts]):
        stem, members = next(iter(stems.items()))
        text = (
            f"{sum(map(len, stems.values()))} ids share their beginnings, such as {members[0]} and "
            f"{members[1]} ({stem}); {_ADVICE}"
        )
        findings.append(Finding("warning", "W_GROUPS", members[0], text))
    if pairs := _alike(facts):
        first, second = pairs[0]
        text = (
            f"{len(pairs)} pairs of images are nearly the same, such as {first.case.id} and "
            f"{second.case.id}; {_ADVICE}"
        )
        findings.append(Finding("warning", "W_GROUPS", first.case.id, text))
    return findings


def _shared_stems(ids: Sequence[str]) -> dict[str, list[str]]:
    """Return stem -> ids, of stems that several ids share; none if it is one stem for all."""
    found: dict[str, list[str]] = defaultdict(list)
    for case_id in ids:
        if match := _PART.fullmatch(case_id):
            found[match["patient"]].append(case_id)
    shared = {stem: members for stem, members in found.items() if len(members) > 1}
    return shared if len(found) > 1 else {}


def _alike(facts: Sequence[CaseFacts]) -> list[tuple[CaseFacts, CaseFacts]]:
    """Return pairs of images whose thumbnails correlate; equal voxels are told elsewhere."""
    by_size: dict[int, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        if fact.thumbnail is not None and fact.thumbnail.any():
            by_size[fact.thumbnail.size].append(fact)
    pairs = []
    for members in by_size.values():
        table = np.stack([fact.thumbnail for fact in members if fact.thumbnail is not None])
        for start in range(0, len(members), _BLOCK):
            near = table[start : start + _BLOCK] @ table[start:].T > ALIKE
            for row, column in zip(*np.nonzero(np.triu(near, 1)), strict=True):
                one, other = members[start + row], members[start + column]
                if one.pixel_hash != other.pixel_hash:
                    pairs.append((one, other))
    return pairs
