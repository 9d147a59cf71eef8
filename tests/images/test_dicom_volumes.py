"""Volumes within one DICOM series come apart, and each is whole and a case."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_semiseg.datasets.discover import read_case
from monai_semiseg.errors import InputError
from monai_semiseg.images.dicom_volumes import split_volumes
from tests.images.series_builders import kind, several, timed, volume
from tests.scan_builders import built_cases


def direction(*cosines: float, b: int = 1000) -> dict[str, Any]:
    return {"DiffusionBValue": b, "DiffusionGradientOrientation": list(cosines)}


X = direction(1, 0, 0)
Y = direction(0, 1, 0)
SIEMENS_B = (0x0019100C, "IS")
SIEMENS_G = (0x0019100E, "FD")
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
