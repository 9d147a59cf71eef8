"""Volumes within one DICOM series: each is whole and a case, or the series is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import private_dictionary_description
from pydicom.dataset import Dataset

from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import InputError, SemisegError
from monai_semiseg.images.dicom_header import SPLITTING_TAGS
from monai_semiseg.images.dicom_volumes import split_volumes
from tests.scan_builders import built_cases

Tags = Callable[[int], dict[str, Any]]  # number of the slice -> tags


def volume(
    make: SimpleNamespace, folder: Path, name: str, tags: Tags | dict[str, Any], **shape: Any
) -> list[Path]:
    """Write one volume of the series 1.2.3 with ``tags`` in each slice."""

    def edit(data: Dataset, k: int) -> None:
        for tag, value in (tags(k) if callable(tags) else tags).items():
            if isinstance(tag, str):
                setattr(data, tag, value)
            else:  # private: number, VR
                data.add_new(tag[0], tag[1], value)

    return list(make.series(folder, uid="1.2.3", name=name + "_{}", edit=edit, **shape))


def half_a_step_apart(tag: str) -> Callable[[SimpleNamespace, Path], None]:
    """Write two volumes that differ in one tag, the second between the slices of the first."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        volume(make, folder, "A", {tag: 1})
        volume(make, folder, "B", {tag: 2}, origin=(-10.0, 4.0, 31.0))

    return build


def several(*tags: Tags | dict[str, Any], **shape: Any) -> Callable[[SimpleNamespace, Path], None]:
    """Write volumes that differ in tags, all at the same positions."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        for number, one in enumerate(tags):
            volume(make, folder, f"V{number}", one, **shape)

    return build


def kind(*words: str) -> dict[str, Any]:
    return {"ImageType": ["ORIGINAL", "PRIMARY", *words]}


def direction(*cosines: float, b: int = 1000) -> dict[str, Any]:
    return {"DiffusionBValue": b, "DiffusionGradientOrientation": list(cosines)}


X = direction(1, 0, 0)
Y = direction(0, 1, 0)
SIEMENS_B = (0x0019100C, "IS")
SIEMENS_G = (0x0019100E, "FD")


def timed(start: int) -> Tags:
    """Return a time for each slice of an acquisition that begins at a second."""
    return lambda k: {"AcquisitionTime": f"1200{start + k:02}.5"}


SPLIT: dict[str, tuple[Callable[[SimpleNamespace, Path], None], int]] = {
    "multi-echo": (several(*({"EchoNumbers": e, "EchoTime": 7.5 * e} for e in (1, 2, 3))), 3),
    "multi-echo, by EchoTime alone": (several({"EchoTime": 10}, {"EchoTime": 20}), 2),
    "diffusion, b-values": (several({"DiffusionBValue": 0}, {"DiffusionBValue": 1000}), 2),
    "diffusion, directions": (several({"DiffusionBValue": 0}, X, Y, direction(0, 0, 1)), 4),
    "diffusion, b-values x directions": (
        several(
            {"DiffusionBValue": 0}, X, Y, direction(1, 0, 0, b=2000), direction(0, 1, 0, b=2000)
        ),
        5,
    ),
    "diffusion of Siemens, private": (
        several(
            {SIEMENS_B: 0},
            {SIEMENS_B: 1000, SIEMENS_G: [1.0, 0.0, 0.0]},
            {SIEMENS_B: 1000, SIEMENS_G: [0.0, 1.0, 0.0]},
        ),
        3,
    ),
    "diffusion, averages by acquisition": (
        several(*({**X, "AcquisitionNumber": n} for n in (1, 2)), {"DiffusionBValue": 0}),
        3,
    ),
    "magnitude and phase": (several(kind("M", "ND"), kind("P", "ND")), 2),
    "echo x magnitude and phase": (
        several(*({**kind(word), "EchoNumbers": e} for word, e in itertools.product("MP", (1, 2)))),
        4,
    ),
    "Dixon": (several(*(kind(w) for w in ("IN_PHASE", "OPP_PHASE", "WATER", "FAT"))), 4),
    "complex components by name": (
        several({"ComplexImageComponent": "REAL"}, {"ComplexImageComponent": "IMAGINARY"}),
        2,
    ),
    "perfusion maps": (several(*(kind("PERFUSION", w) for w in ("CBF", "CBV", "MTT"))), 3),
    "dynamic contrast, temporal position": (
        several(*({"TemporalPositionIdentifier": t} for t in range(1, 4))),
        3,
    ),
    "dynamic, acquisition numbers": (several(*({"AcquisitionNumber": n} for n in (1, 2, 3))), 3),
    "dynamic, one time for each volume": (
        several({"AcquisitionTime": "120001"}, {"AcquisitionTime": "120011"}),
        2,
    ),
    "dynamic, a time for each slice": (several(timed(0), timed(20), timed(40)), 3),
    "inversion times": (several({"InversionTime": 50}, {"InversionTime": 400}), 2),
    "flip angles": (several({"FlipAngle": 3}, {"FlipAngle": 15}), 2),
    "cine, trigger times": (several(*({"TriggerTime": 40.0 * p} for p in range(4))), 4),
    "cine, trigger times that follow the heart": (
        several(*(lambda k, p=p: {"TriggerTime": (40 + 1.5 * k) * p + 5} for p in range(4))),
        4,
    ),
    "cine of one slice": (several(*({"TriggerTime": 40.0 * p} for p in range(3)), count=1), 3),
    "cardiac CT, phases": (
        several(*({"NominalPercentageOfCardiacPhase": p} for p in (30, 75))),
        2,
    ),
    "PET, frames in time": (
        several(
            *({"FrameReferenceTime": 6e4 * t, "ActualFrameDuration": 60000} for t in (1, 2, 3))
        ),
        3,
    ),
    "reconstruction kernels": (
        several({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
        2,
    ),
    "dual energy": (several({"KVP": 80}, {"KVP": 140}), 2),
    "coils": (several({"ReceiveCoilName": "C1"}, {"ReceiveCoilName": "C2"}), 2),
    "reconstructed twice, ContentTime": (
        several({"ContentTime": "1201"}, {"ContentTime": "1209"}),
        2,
    ),
    "echoes whose positions are rounded otherwise": (
        lambda make, f: (
            volume(make, f, "A", {"EchoNumbers": 1}),
            volume(make, f, "B", {"EchoNumbers": 2}, origin=(-10.004, 4.004, 30.006)),
        ),
        2,
    ),
    # No place twice: one volume, however it was taken.
    "interleaved acquisitions": (several(lambda k: {"AcquisitionNumber": k % 2, **timed(k)(k)}), 1),
    "two acquisitions end to end": (
        several(lambda k: {"AcquisitionNumber": 1 + (k > 3), "AcquisitionTime": f"12{k // 4:02}"}),
        1,
    ),
    "temporal positions that number the slices": (
        several(lambda k: {"TemporalPositionIdentifier": k + 1}),
        1,
    ),
    "PET, beds": (several(lambda k: {"FrameReferenceTime": 1e5 * (k // 3)}), 1),
}


@pytest.mark.parametrize("row", SPLIT)
def test_volumes_come_apart_whole(make: SimpleNamespace, tmp_path: Path, row: str) -> None:
    cases = built_cases(SPLIT[row], make, tmp_path / "scans")
    files = set().union(*(case.files for case in cases))
    assert len(files) == len(list((tmp_path / "scans").iterdir()))
    sizes = set()
    for case in cases:
        scan = read_case(case)
        make.assert_true(scan, tolerance=0.6)
        sizes.add(scan.array.shape)
    assert len(sizes) == 1
    names = {file.name.split("_")[0] for file in cases[0].files}
    assert len(names) == 1  # slices of one volume only


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


def test_localizers_are_passed_over(make: SimpleNamespace, tmp_path: Path) -> None:
    volume(make, tmp_path, "A", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, count=1)
    volume(make, tmp_path, "B", {})
    found = find_cases(tmp_path, progress=False)
    assert [skipped.reason for skipped in found.skipped] == ["localizer"]
    make.assert_true(read_case(found.cases[0]))


def test_copies_in_other_folders(make: SimpleNamespace, tmp_path: Path) -> None:
    """A whole copy is a case of its own; a part of a copy adds nothing and takes nothing away."""
    files = volume(make, tmp_path / "a", "A", {})
    for folder, copied in (("whole", files), ("part", files[:3])):
        root = tmp_path / folder
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
        for file in files:
            (root / "a" / file.name).write_bytes(file.read_bytes())
        for file in copied:
            (root / "b" / file.name).write_bytes(file.read_bytes())
    assert [len(c.files) for c in find_cases(tmp_path / "whole", progress=False).cases] == [8, 8]
    assert [len(c.files) for c in find_cases(tmp_path / "part", progress=False).cases] == [8]


def test_series_of_other_studies_are_never_merged(make: SimpleNamespace, tmp_path: Path) -> None:
    """Careless de-identification gives every patient the same SeriesInstanceUID."""
    volume(make, tmp_path / "p1", "A", {"StudyInstanceUID": "1.1"})
    volume(make, tmp_path / "p2", "B", {"StudyInstanceUID": "1.2"}, count=5)
    found = find_cases(tmp_path, progress=False)
    assert sorted(len(case.files) for case in found.cases) == [5, 8]


def repeated(data: Dataset) -> None:
    """Write two frames at each position, of two echoes."""
    data.NumberOfFrames *= 2
    data.PixelData *= 2
    for number, item in enumerate(list(data.PerFrameFunctionalGroupsSequence) * 2):
        copy = Dataset()
        echo = Dataset()
        copy.update(item)
        echo.EffectiveEchoTime = 10.0 if number < data.NumberOfFrames // 2 else 20.0
        copy.MREchoSequence = [echo]
        data.PerFrameFunctionalGroupsSequence.append(copy)
    del data.PerFrameFunctionalGroupsSequence[: data.NumberOfFrames // 2]


def gapped(data: Dataset) -> None:
    frame = data.Rows * data.Columns * 2
    data.PixelData = data.PixelData[: 2 * frame] + data.PixelData[3 * frame :]
    del data.PerFrameFunctionalGroupsSequence[2]
    data.NumberOfFrames -= 1


def unplaced(data: Dataset) -> None:
    del data.PerFrameFunctionalGroupsSequence
    del data.SharedFunctionalGroupsSequence


def concatenated(data: Dataset) -> None:
    data.InConcatenationNumber = 1
    data.InConcatenationTotalNumber = 3


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (repeated, "E_UNSUPPORTED", "2 volumes of 6 frames"),
        (gapped, "E_GAP", "multi.dcm frame 2"),
        (unplaced, "E_UNSUPPORTED", "6 frames (MR) without positions"),
        (concatenated, "E_UNSUPPORTED", "one of 3 parts"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_enhanced_objects_that_are_not_one_volume(
    make: SimpleNamespace, tmp_path: Path, edit: Callable[[Dataset], None], code: str, words: str
) -> None:
    make.enhanced(tmp_path / "multi.dcm", edit=edit)
    found = find_cases(tmp_path, progress=False)
    assert len(found.cases) == 1
    with pytest.raises(SemisegError) as caught:
        read_case(found.cases[0])
    assert caught.value.code == code and words in str(caught.value)


def test_frames_in_any_order(make: SimpleNamespace, tmp_path: Path) -> None:
    def shuffled(data: Dataset) -> None:
        order = np.random.default_rng(0).permutation(data.NumberOfFrames)
        frames = np.frombuffer(data.PixelData, "<i2").reshape(data.NumberOfFrames, -1)
        data.PixelData = frames[order].tobytes()
        items = list(data.PerFrameFunctionalGroupsSequence)
        data.PerFrameFunctionalGroupsSequence = [items[k] for k in order]

    make.enhanced(tmp_path / "multi.dcm", edit=shuffled)
    make.assert_true(read_case(find_cases(tmp_path, progress=False).cases[0]))


def header(place: int, tags: dict[str, str]) -> Any:
    """Return a header with the attributes that splitting needs."""
    return SimpleNamespace(
        path=Path(f"{place}.dcm"),
        name=f"{place}.dcm",
        position=(0.0, 0.0, 2.0 * place),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        spacing=(1.0, 1.0),
        size=(4, 4),
        image_type=("ORIGINAL", "PRIMARY"),
        tags=tags,
    )


NAMES: Sequence[str] = ("EchoTime", "InversionTime", "AcquisitionNumber", "AcquisitionTime")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    slices=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.fixed_dictionaries({name: st.sampled_from(["1", "2"]) for name in NAMES}),
        ),
        min_size=1,
        max_size=16,
    )
)
def test_whatever_the_tags_say_every_volume_spans_the_whole(
    slices: list[tuple[int, dict[str, str]]],
) -> None:
    headers = [header(place, tags) for place, tags in slices]
    try:
        volumes = split_volumes(headers)
    except InputError as error:
        assert error.code == "E_DUPLICATE"
        return
    whole = {place for place, _ in slices}
    for one in volumes:
        heights = [round(member.position[2] / 2) for member in one]
        assert sorted(heights) == sorted(whole)
    assert sum(map(len, volumes)) == len(headers)


@pytest.mark.parametrize(
    ("name", "creator", "words"),
    [
        ("GE image component", "GEMS_PARM_01", "Image Type (real, imaginary, phase, magnitude)"),
        ("GE b-value", "GEMS_PARM_01", "Slop_int_6... slop_int_9"),
        ("GE gradient x", "GEMS_ACQU_01", "User data 20"),
        ("GE gradient y", "GEMS_ACQU_01", "User data 21"),
        ("GE gradient z", "GEMS_ACQU_01", "User data 22"),
        ("Siemens b-value", "SIEMENS MR HEADER", "B_value"),
        ("Siemens gradient", "SIEMENS MR HEADER", "DiffusionGradientDirection"),
        ("Philips b-value", "Philips Imaging DD 001", "Diffusion B-Factor"),
        ("Philips gradient x", "Philips MR Imaging DD 001", "Diffusion Direction RL"),
        ("Philips gradient y", "Philips MR Imaging DD 001", "Diffusion Direction AP"),
        ("Philips gradient z", "Philips MR Imaging DD 001", "Diffusion Direction FH"),
    ],
)
def test_private_tags_are_what_the_vendors_dictionaries_say(
    name: str, creator: str, words: str
) -> None:
    tag = SPLITTING_TAGS[name]
    assert isinstance(tag, int)
    assert private_dictionary_description(tag, creator) == words
