"""Splitting of one DICOM series into volumes (echoes, time points, directions)."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from monai_semiseg.errors import DuplicateError, InputError, MixedSeriesError
from monai_semiseg.images.dicom_header import DicomHeader
from monai_semiseg.images.dicom_tags import SPLITTING_TAGS

Slice = tuple[int, DicomHeader]  # number of its position along the stack, and its header
# Times that may differ between slices of one volume: their order at each position distinguishes
# volumes. Triggers follow heartbeats; acquisitions cover the whole stack, one after another.
_TIMES = {"TriggerTime": False, "AcquisitionDateTime": True, "AcquisitionTime": True}
# Slices that differ in one of these show different contrasts and are not one volume. The same holds
# for the states, unless they only number the slices.
_CONTRASTS = ("EchoNumbers", "DiffusionBValue", "Siemens b-value", "Philips b-value")
_STATES = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "ConvolutionKernel",
)
_KINDS = (
    *("M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY"),
    *("IN_PHASE", "OPP_PHASE", "OUT_PHASE", "WATER", "FAT", "W", "F", "IP", "OP"),
)


def split_volumes(headers: Sequence[DicomHeader]) -> list[list[DicomHeader]]:
    """Split the slices of one series into volumes, or keep them as one.

    Slices that all have different positions are one volume, from any number of acquisitions. Where
    positions repeat, a tag splits the series only if each of its values occurs at every position,
    equally often. Several tags may be needed, one after the other. So every part covers the same
    range as the whole.

    Args:
        headers: headers of single-frame objects, or of the frames of one object.

    Raises:
        DuplicateError: If positions repeat, and no tag splits the series into complete volumes.
        MixedSeriesError: If sizes, spacings or orientations differ, or if one volume would contain
            slices of different contrasts.
    """
    _require_one_grid(headers)
    slices = list(zip(slice_positions(headers), headers, strict=True))
    parts = _split(slices)
    if parts is None:
        raise _duplicate_error(slices)
    volumes = [[header for _, header in part] for part in parts]
    for volume in volumes:
        _require_one_contrast(volume)
    return volumes


def slice_positions(headers: Sequence[DicomHeader]) -> list[int]:
    """Return the number of each header's position along the normal.

    If a header has no position, every header has its own number. Positions within 5 % of a slice
    distance are one: rounding differs between volumes.
    """
    if not all(_has_position(header) for header in headers):
        return list(range(len(headers)))
    orientation = np.array(headers[0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    heights = np.array([header.position for header in headers]) @ normal
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    steps = gaps[gaps > (0.02 if (gaps > 0.02).any() else 1e-3)]
    new = gaps > max(1e-3, 0.05 * float(np.median(steps)) if steps.size else 0.0)
    numbers = np.empty(len(headers), dtype=int)
    numbers[order] = np.concatenate([[0], np.cumsum(new)])
    return [int(number) for number in numbers]


def each_covers_all_positions(groups: Sequence[Sequence[DicomHeader]]) -> bool:
    """Return True if every group has slices at every position of all groups, equally often."""
    headers = list(itertools.chain.from_iterable(groups))
    numbers = iter(slice_positions(headers))
    numbered = [[(next(numbers), header) for header in group] for group in groups]
    whole = list(itertools.chain.from_iterable(numbered))
    return all(_covers(group, whole) for group in numbered)


def _has_position(header: DicomHeader) -> bool:
    numbers = (*header.position, *header.orientation)
    return len(header.position) == 3 and len(numbers) == 9 and all(map(math.isfinite, numbers))


def _split(slices: Sequence[Slice]) -> list[list[Slice]] | None:
    """Return the volumes; None if no tag splits the positions that repeat."""
    if not _repeats(slices):
        return [list(slices)]
    for parts in _partitions(slices):
        if len(parts) > 1 and all(_covers(part, slices) for part in parts):
            volumes = _split_each(parts)
            if volumes is not None:
                return volumes
    return None


def _split_each(parts: Sequence[Sequence[Slice]]) -> list[list[Slice]] | None:
    volumes: list[list[Slice]] = []
    for part in parts:
        finer = _split(part)
        if finer is None:
            return None
        volumes += finer
    return volumes


def _repeats(slices: Sequence[Slice]) -> bool:
    return len({position for position, _ in slices}) < len(slices)


def _covers(part: Sequence[Slice], whole: Sequence[Slice]) -> bool:
    """Return True if a part has every position of the whole, each equally often."""
    counts = Counter(position for position, _ in part)
    return set(counts) == {position for position, _ in whole} and len(set(counts.values())) == 1


def _partitions(slices: Sequence[Slice]) -> Iterator[list[list[Slice]]]:
    """Yield ways to split slices: by each tag's value, then by the order of times."""
    for name in SPLITTING_TAGS:
        parts: dict[str, list[Slice]] = defaultdict(list)
        for position, header in slices:
            parts[header.tags.get(name, "")].append((position, header))
        yield [parts[value] for value in sorted(parts, key=_natural)]
    for name, in_passes in _TIMES.items():
        yield _by_order(slices, name, in_passes)


def _natural(text: str) -> tuple[tuple[float, str], ...]:
    """Return a sort key: numbers by size, other words by their letters."""
    return tuple((_number(word), word) for word in text.split("\\"))


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        return math.inf
    return value if math.isfinite(value) else math.inf


def _by_order(slices: Sequence[Slice], name: str, in_passes: bool) -> list[list[Slice]]:
    """Split slices by rank: the first at each position, the second at each position, ...

    Args:
        slices: as many at each position.
        name: name of the tag with the time.
        in_passes: whether each part has to end before the next begins.

    Returns:
        The parts; empty if the times do not give an order.
    """
    by_position: dict[int, list[tuple[float, Slice]]] = defaultdict(list)
    for position, header in slices:
        time = _number(header.tags.get(name, ""))
        by_position[position].append((time, (position, header)))
    ranked = [sorted(timed, key=lambda item: item[0]) for timed in by_position.values()]
    times = [[time for time, _ in timed] for timed in ranked]
    if len({len(row) for row in times}) != 1 or not all(map(_strictly_increasing, times)):
        return []
    columns = list(zip(*times, strict=True))
    if in_passes and any(max(a) > min(b) for a, b in itertools.pairwise(columns)):
        return []
    return [[timed[k][1] for timed in ranked] for k in range(len(columns))]


def _strictly_increasing(times: Sequence[float]) -> bool:
    """Return True if sorted times are all known and different."""
    return times[-1] != math.inf and len(set(times)) == len(times)


def _duplicate_error(slices: Sequence[Slice]) -> InputError:
    """Return the error that names two slices at one position and the tags that differ."""
    seen: dict[int, DicomHeader] = {}
    for position, header in slices:
        first = seen.setdefault(position, header)
        if first is not header:
            break
    differ = [n for n in SPLITTING_TAGS if first.tags.get(n, "") != header.tags.get(n, "")]
    reason = (
        f"{', '.join(differ[:3])} differ, but do not split the series into complete volumes"
        if differ
        else "no tag distinguishes them"
    )
    return DuplicateError(
        f"lies at the same position as {first.name}; {reason}",
        expected="one slice per position, or volumes that each cover the whole series",
        remedy="remove the slices that do not belong to the series, or export it again",
        path=header.path,
    )


def _require_one_contrast(volume: Sequence[DicomHeader]) -> None:
    """Refuse slices of different contrasts at different positions, which look like one stack."""
    for name in _CONTRASTS:
        _require_one(name, {header.tags.get(name, "") for header in volume}, volume)
    for name in _STATES:
        values = {header.tags.get(name, "") for header in volume}
        if len(values) <= len(volume) / 2:
            _require_one(name, values, volume)
    kinds = {" ".join(word for word in h.image_type[2:] if word in _KINDS) for h in volume}
    _require_one("ImageType", kinds, volume)


def _require_one(name: str, values: set[str], volume: Sequence[DicomHeader]) -> None:
    known = sorted(values - {""}, key=_natural)
    if len(known) > 1:
        raise MixedSeriesError(
            f"{name} is {' and '.join(known[:3])} in slices of one stack",
            expected="slices of one kind, or every kind at every position",
            remedy="separate the series by that value, or export it again",
            path=volume[0].path,
        )


def _require_one_grid(headers: Sequence[DicomHeader]) -> None:
    """Require one size, spacing and orientation for all slices."""
    first = headers[0]
    for header in headers[1:]:
        for name, a, b, tolerance in (
            ("Rows x Columns", header.size, first.size, 0.0),
            # one in the last of three decimals
            ("ImageOrientationPatient", header.orientation, first.orientation, 1.1e-3),
            ("PixelSpacing", header.spacing, first.spacing, 1e-4),
        ):
            if not _close(a, b, tolerance):
                raise MixedSeriesError(
                    f"{name} is {_short(a)}, but {_short(b)} in {first.name}",
                    expected="one size, spacing and orientation in a series",
                    remedy="separate the series by that value, or export it again",
                    path=header.path,
                )


def _close(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    return len(a) == len(b) and all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _short(values: Sequence[float]) -> str:
    return "\\".join(f"{value:g}" for value in values) or "absent"
