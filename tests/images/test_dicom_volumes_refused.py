"""A DICOM series whose volumes are not whole is one case, which is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import InputError
from tests.images.series_builders import Tags, kind, several, timed, volume


def half_a_step_apart(tag: str) -> Callable[[SimpleNamespace, Path], None]:
    """Write two volumes that differ in one tag, the second between the slices of the first."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        volume(make, folder, "A", {tag: 1})
        volume(make, folder, "B", {tag: 2}, origin=(-10.0, 4.0, 31.0))

    return build


def doubled(tags: Tags, extra: dict[str, Any], count: int = 40) -> Callable[..., None]:
    """Write ``count`` slices, and one more at the position of the seventh."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        volume(make, folder, "A", tags, count=count)
        volume(make, folder, "B", extra, count=1, origin=(-10.0, 4.0, 42.0))

    return build


def stacks(
    *parts: tuple[int, int, dict[str, Any]], folders: bool = False
) -> Callable[[SimpleNamespace, Path], None]:
    """Write volumes of a range of slices, each with its own tags."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        for number, (start, end, tags) in enumerate(parts):
            where = folder / f"part{number}" if folders else folder
            place = (-10.0, 4.0, 30.0 + 2.0 * start)
            volume(make, where, f"P{number}", tags, count=end - start, origin=place)

    return build


def without(k: int, tags: dict[str, Any]) -> Callable[[SimpleNamespace, Path], None]:
    """Write two echoes, the second without slice ``k``."""
    return lambda make, f: (
        volume(make, f, "A", {"EchoNumbers": 1}),
        volume(make, f, "B", {"EchoNumbers": 2, **tags}, skip=[k]),
    )


REFUSED: dict[str, tuple[Callable[..., Any], str, str]] = {
    "a place twice, own times": (
        doubled(timed(0), {"AcquisitionTime": "120055"}),
        "E_DUPLICATE",
        "AcquisitionTime differ",
    ),
    "a place twice, two acquisitions": (
        doubled(lambda k: {"AcquisitionNumber": 2}, {"AcquisitionNumber": 3}),
        "E_DUPLICATE",
        "AcquisitionNumber differ",
    ),
    "a place twice, halves by acquisition": (
        doubled(lambda k: {"AcquisitionNumber": 2 + (k > 19)}, {"AcquisitionNumber": 3}),
        "E_DUPLICATE",
        "AcquisitionNumber differ",
    ),
    "a place twice, nothing differs": (doubled(lambda k: {}, {}), "E_DUPLICATE", "no tag"),
    "every place twice, nothing differs": (several({}, {}), "E_DUPLICATE", "no tag distinguishes"),
    "halves that overlap by a slice": (
        stacks((0, 5, {"AcquisitionNumber": 2}), (4, 9, {"AcquisitionNumber": 3})),
        "E_DUPLICATE",
        "complete volumes",
    ),
    "acquisitions that overlap": (
        stacks((0, 30, {"AcquisitionNumber": 1}), (24, 54, {"AcquisitionNumber": 2})),
        "E_DUPLICATE",
        "complete volumes",
    ),
    "halves that overlap, in two folders": (
        stacks((0, 5, {}), (4, 9, {}), folders=True),
        "E_DUPLICATE",
        "same position",
    ),
    "a slice missing in one echo": (without(3, {}), "E_DUPLICATE", "complete volumes"),
    "the last slice missing in one echo": (without(7, {}), "E_DUPLICATE", "complete volumes"),
    "times that overlap from place to place": (
        several(
            lambda k: {"AcquisitionTime": f"1200{3 * k:02}"},
            lambda k: {"AcquisitionTime": f"1200{3 * k + 1:02}"},
        ),
        "E_DUPLICATE",
        "same position",
    ),
    "echoes that complement each other": (
        several(lambda k: {"EchoNumbers": 1 + k % 2}),
        "E_MIXED",
        "EchoNumbers is 1 and 2",
    ),
    "magnitude and phase in one stack": (
        several(lambda k: kind("M" if k < 4 else "P")),
        "E_MIXED",
        "ImageType is M and P",
    ),
    "echoes half a step apart": (
        half_a_step_apart("EchoNumbers"),
        "E_MIXED",
        "EchoNumbers is 1 and 2",
    ),
    "time points half a step apart": (
        half_a_step_apart("TemporalPositionIdentifier"),
        "E_MIXED",
        "TemporalPositionIdentifier is 1 and 2",
    ),
    "a mosaic": (
        several(*({**kind("M", "MOSAIC"), "AcquisitionNumber": n} for n in (1, 2)), count=1),
        "E_UNSUPPORTED",
        "mosaic",
    ),
    "planes without a word that they are localizers": (
        lambda make, f: (
            volume(make, f, "A", {}, count=1),
            volume(make, f, "B", {}, count=1, orientation=(0, 1, 0, 0, 0, -1)),
        ),
        "E_MIXED",
        "ImageOrientationPatient",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_not_whole_is_refused_as_one(
    make: SimpleNamespace, tmp_path: Path, row: str
) -> None:
    build, code, words = REFUSED[row]
    build(make, tmp_path / "scans")
    found = find_cases(tmp_path / "scans", progress=False)
    assert len(found.cases) == 1 and not found.skipped
    with pytest.raises(InputError) as caught:
        read_case(found.cases[0])
    assert caught.value.code == code and words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4


def test_the_same_place_missing_everywhere_is_a_gap_in_each(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    several({"EchoNumbers": 1}, {"EchoNumbers": 2}, skip=[3])(make, tmp_path)
    found = find_cases(tmp_path, progress=False)
    assert len(found.cases) == 2
    for case in found.cases:
        with pytest.raises(InputError, match="E_GAP"):
            read_case(case)
