"""Volumes within one DICOM series: echoes, time points, directions lie at the same places."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from monai_semiseg.errors import DuplicateError, InputError, MixedSeriesError
from monai_semiseg.images.dicom_header import SPLITTING_TAGS, DicomHeader

Slice = tuple[int, DicomHeader]  # number of its place along the stack, and what it says
# Times that may differ from slice to slice of one volume: their order at each place tells volumes
# apart. Triggers follow heartbeats; acquisitions pass through the whole stack, one after another.
_ORDERED = {"TriggerTime": False, "AcquisitionDateTime": True, "AcquisitionTime": True}
# Where these differ, images show different things, and are no slices of one volume. So it is with
# the states, unless they only number the slices.
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
    """Split the slices of one series into volumes, or leave them one.

    Slices that all lie at different places are one volume, in however many acquisitions they were
    taken. Where places repeat, a tag splits the series only if every one of its values stands at
    every place, equally often; several tags may be needed, one after the other. So no part is less
    than what the whole spans.

    Args:
        headers: of single-frame objects, or of the frames of one object.

    Raises:
        DuplicateError: If places repeat, and no tags split the series into whole volumes.
        MixedSeriesError: If sizes, spacings or orientations differ, or if one volume would hold
            slices of different contrasts.
    """
    _require_one_grid(headers)
    slices = list(zip(places(headers), headers, strict=True))
    parts = _split(slices)
    if parts is None:
        raise _doubled(slices)
    volumes = [[header for _, header in part] for part in parts]
    for volume in volumes:
        _require_one_contrast(volume)
    return volumes


def places(headers: Sequence[DicomHeader]) -> list[int]:
    """Number the places along the normal; headers that do not say where they lie have a place each.

    Positions within 5 % of a slice distance are one place: rounding differs between volumes.
    """
    if not all(_placed(header) for header in headers):
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


def each_spans_the_whole(groups: Sequence[Sequence[DicomHeader]]) -> bool:
    """Return whether every group of slices stands at every place of all, equally often."""
    headers = [header for group in groups for header in group]
    where = iter(places(headers))
    numbered = [[(next(where), header) for header in group] for group in groups]
    whole = [one for group in numbered for one in group]
    return all(_spans(group, whole) for group in numbered)


def _placed(header: DicomHeader) -> bool:
    numbers = (*header.position, *header.orientation)
    return len(header.position) == 3 and len(numbers) == 9 and all(map(math.isfinite, numbers))


def _split(slices: Sequence[Slice]) -> list[list[Slice]] | None:
    """The volumes; None if there is no way to split places that repeat."""
    if not _repeats(slices):
        return [list(slices)]
    for parts in _partitions(slices):
        if len(parts) > 1 and all(_spans(part, slices) for part in parts):
            finer = [_split(part) for part in parts]
            if None not in finer:
                return [volume for part in finer if part is not None for volume in part]
    return None


def _repeats(slices: Sequence[Slice]) -> bool:
    return len({place for place, _ in slices}) < len(slices)


def _spans(part: Sequence[Slice], whole: Sequence[Slice]) -> bool:
    """Whether a part holds every place of the whole, each equally often."""
    counts = Counter(place for place, _ in part)
    return set(counts) == {place for place, _ in whole} and len(set(counts.values())) == 1


def _partitions(slices: Sequence[Slice]) -> Iterator[list[list[Slice]]]:
    """Ways to split slices: by the value of each tag, then by the order of a time at each place."""
    for name in SPLITTING_TAGS:
        parts: dict[str, list[Slice]] = defaultdict(list)
        for place, header in slices:
            parts[header.tags.get(name, "")].append((place, header))
        yield [part for _, part in sorted(parts.items(), key=lambda item: _natural(item[0]))]
    for name, in_passes in _ORDERED.items():
        yield _by_order(slices, name, in_passes)


def _natural(text: str) -> tuple[tuple[float, str], ...]:
    """Sort key: numbers by size, other words by their letters."""
    return tuple((number, word) for word in text.split("\\") for number in [_number(word)])


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        return math.inf
    return value if math.isfinite(value) else math.inf


def _by_order(slices: Sequence[Slice], name: str, in_passes: bool) -> list[list[Slice]]:
    """The first of each place, the second of each place, ...; empty where their times do not tell.

    Args:
        slices: with the same number at each place.
        name: of the tag with the time.
        in_passes: whether each part has to end before the next begins.
    """
    at: dict[int, list[tuple[float, Slice]]] = defaultdict(list)
    for one in slices:
        at[one[0]].append((_number(one[1].tags.get(name, "")), one))
    ranked = [sorted(timed, key=lambda item: item[0]) for timed in at.values()]
    times = [[time for time, _ in timed] for timed in ranked]
    if len({len(row) for row in times}) != 1 or any(
        row[-1] == math.inf or len(set(row)) < len(row) for row in times
    ):
        return []
    columns = list(zip(*times, strict=True))
    if in_passes and any(max(a) > min(b) for a, b in itertools.pairwise(columns)):
        return []
    return [[timed[k][1] for timed in ranked] for k in range(len(columns))]


def _doubled(slices: Sequence[Slice]) -> InputError:
    """Name two slices at one place, and why what differs between them splits nothing."""
    seen: dict[int, DicomHeader] = {}
    for place, header in slices:
        first = seen.setdefault(place, header)
        if first is not header:
            break
    differ = [n for n in SPLITTING_TAGS if first.tags.get(n, "") != header.tags.get(n, "")]
    reason = (
        f"{', '.join(differ[:3])} differ, but split the series into no whole volumes"
        if differ
        else "no tag tells them apart"
    )
    return DuplicateError(
        f"lies at the same place as {first.name}; {reason}",
        expected="one slice per place, or volumes that each span the whole series",
        remedy="remove the slices that do not belong to the series, or export it again",
        path=header.path,
    )


def _require_one_contrast(volume: Sequence[DicomHeader]) -> None:
    """Slices of different contrasts at different places look like one stack, and are none."""
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
            expected="slices of one kind, or every kind at every place",
            remedy="separate the series by that value, or export it again",
            path=volume[0].path,
        )


def _require_one_grid(headers: Sequence[DicomHeader]) -> None:
    """Slices of one volume share size, spacing and orientation."""
    first = headers[0]
    for header in headers[1:]:
        for what, a, b, tolerance in (
            ("Rows x Columns", header.size, first.size, 0.0),
            # one in the last of three decimals
            ("ImageOrientationPatient", header.orientation, first.orientation, 1.1e-3),
            ("PixelSpacing", header.spacing, first.spacing, 1e-4),
        ):
            if not _close(a, b, tolerance):
                raise MixedSeriesError(
                    f"{what} is {_short(a)}, but {_short(b)} in {first.name}",
                    expected="one size, spacing and orientation in a series",
                    remedy="separate the series by that value, or export it again",
                    path=header.path,
                )


def _close(a: Sequence[float], b: Sequence[float], tolerance: float) -> bool:
    return len(a) == len(b) and all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _short(values: Sequence[float]) -> str:
    return "\\".join(f"{value:g}" for value in values) or "absent"
