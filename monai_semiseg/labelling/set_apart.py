"""Scans that nobody should label: faulty ones, ones unlike all others, and near duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from monai_semiseg.datasets.geometry_statistics import size_differences
from monai_semiseg.datasets.group_hints import ALIKE
from monai_semiseg.labelling.clusters import Array
from monai_semiseg.labelling.readings import Reading

_LEAST = 10  # scans of which one can be unlike all others
_NEIGHBOURS = 5
_FAR = 5.0  # robust standard deviations; of 825 real scans none was farther than 4


def unlike_reasons(readings: Sequence[Reading], labelled: Collection[str]) -> dict[str, str]:
    """Return case -> reason of scans of another modality or size than the others.

    The others are the labelled scans, or without any the middle nine tenths of all. A size is
    unlike if it is 1.5 times beyond their range, as in ``check``.

    Args:
        readings: of sound scans.
        labelled: cases that have a label.
    """
    known = [one for one in readings if one.case.id in labelled] or list(readings)
    units = {one.facts.unit for one in known}
    modalities = _usual([one.facts.modality for one in known], every=bool(labelled))
    ranges = _middle_ranges(known, trim=not labelled) if len(units) == 1 else {}
    reasons = {}
    for one in readings:
        found: dict[str, str] = {}
        if ranges and one.facts.unit in units and one.facts.size is not None:
            found = size_differences(one.facts.size, ranges, one.facts.unit)
        if modalities and one.facts.modality not in ("", *modalities):
            theirs = ", ".join(modalities)
            found["modality"] = f"modality {one.facts.modality}, theirs {theirs}"
        if found and one.case.id not in labelled:
            reasons[one.case.id] = f"unlike the others: {'; '.join(found.values())}"
    return reasons


def _usual(modalities: Sequence[str], *, every: bool) -> list[str]:
    """Return all modalities of labelled scans, or else the one that most scans have."""
    counts = Counter(name for name in modalities if name)
    return sorted(counts) if every else [name for name, _ in counts.most_common(1)]


def _middle_ranges(readings: Sequence[Reading], *, trim: bool) -> dict[str, list[list[float]]]:
    """Return the range of extents and voxel sizes; with ``trim`` of the middle nine tenths."""
    sizes = np.stack([one.facts.size for one in readings if one.facts.size is not None])
    share = (0.05, 0.95) if trim and len(sizes) >= _LEAST else (0.0, 1.0)
    low, high = np.quantile(sizes, share, axis=0, method="nearest")
    return {
        name: [low[row].tolist(), high[row].tolist()]
        for row, name in enumerate(("extent", "spacing"))
    }


def outlier_reasons(ids: Sequence[str], features: Array) -> dict[str, str]:
    """Return case -> reason of scans whose features lie far from all others.

    A scan's distance is the mean to its five nearest neighbours. On the scale of its logarithm, it
    is an outlier if it is more than 5 robust standard deviations (of the median absolute deviation)
    above the median. Of fewer than ten scans none is.
    """
    from scipy.stats import median_abs_deviation
    from sklearn.neighbors import NearestNeighbors

    if len(ids) < _LEAST:
        return {}
    near, _ = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(features).kneighbors()
    logs = np.log(np.maximum(near.mean(1), 1e-12))
    centre = np.median(logs)
    spread = median_abs_deviation(logs, scale="normal")
    if spread == 0:
        return {}
    times = np.exp(logs - centre)
    return {
        name: f"unlike the others: {times[n]:.1f} times as far from its neighbours as usual"
        for n, name in enumerate(ids)
        if logs[n] - centre > _FAR * spread
    }


def near_duplicates(
    ids: Sequence[str], intensities: Array, labelled: Collection[str]
) -> dict[str, str]:
    """Return case -> the scan that it is nearly the same as, and that is kept.

    Two scans are nearly the same if their coarse intensities correlate by more than 0.995. One of a
    chain of such scans is kept: one with a label, or the first.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    alike = csr_array(intensities @ intensities.T > ALIKE)
    _, chain = connected_components(alike, directed=False)
    kept: dict[int, str] = {}
    for at in sorted(range(len(ids)), key=lambda n: (ids[n] not in labelled, n)):
        kept.setdefault(int(chain[at]), ids[at])
    return {
        name: kept[int(chain[at])]
        for at, name in enumerate(ids)
        if name not in labelled and kept[int(chain[at])] != name
    }
