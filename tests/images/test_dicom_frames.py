"""Frames of enhanced objects: what each inherits, and which of two facts goes before the other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydicom
import pytest
from pydicom import Dataset, Sequence

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.dicom_frames import frame_headers, frame_transforms
from monai_semiseg.images.dicom_header import DicomHeader, read_header


def group(**facts: Any) -> Dataset:
    """Return a data set of these elements."""
    found = Dataset()
    for name, value in facts.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def enhanced(make: SimpleNamespace, tmp_path: Path) -> tuple[DicomHeader, Dataset]:
    """Return the header of an object of three frames, and the object."""
    file = make.enhanced(tmp_path / "enhanced.dcm", count=3)
    header = read_header(file)
    assert header is not None
    return header, pydicom.dcmread(file)


def test_each_frame_has_its_place(enhanced: tuple[DicomHeader, Dataset]) -> None:
    header, dataset = enhanced
    frames = frame_headers(header, dataset)
    assert [frame.frame for frame in frames] == [0, 1, 2]
    for frame, own in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        place = own.PlanePositionSequence[0].ImagePositionPatient
        assert frame.position == pytest.approx(tuple(map(float, place)))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    turned = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    for frame in frames:
        assert frame.spacing == pytest.approx(tuple(map(float, measures.PixelSpacing)))
        assert frame.orientation == pytest.approx(tuple(map(float, turned)))


def test_a_frames_own_facts_come_before_the_shared_ones(
    enhanced: tuple[DicomHeader, Dataset],
) -> None:
    header, dataset = enhanced
    dataset.SharedFunctionalGroupsSequence[0].MREchoSequence = Sequence(
        [group(EffectiveEchoTime=10.0)]
    )
    own = dataset.PerFrameFunctionalGroupsSequence[1]
    own.MREchoSequence = Sequence([group(EffectiveEchoTime=20.0)])
    frames = frame_headers(header, dataset)
    assert [float(frame.tags["EchoTime"]) for frame in frames] == [10.0, 20.0, 10.0]


def test_the_space_between_slices_comes_before_their_thickness(
    enhanced: tuple[DicomHeader, Dataset],
) -> None:
    header, dataset = enhanced
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = 4.0
    measures.SpacingBetweenSlices = 5.0
    assert {frame.thickness for frame in frame_headers(header, dataset)} == {5.0}
    del measures.SpacingBetweenSlices
    assert {frame.thickness for frame in frame_headers(header, dataset)} == {4.0}
    del measures.SliceThickness
    assert {frame.thickness for frame in frame_headers(header, dataset)} == {0.0}


def test_the_kind_of_a_frame_comes_before_that_of_the_object(
    enhanced: tuple[DicomHeader, Dataset],
) -> None:
    header, dataset = enhanced
    own = dataset.PerFrameFunctionalGroupsSequence[0]
    own.MRImageFrameTypeSequence = Sequence([group(FrameType=["DERIVED", "PRIMARY", "ADC"])])
    frames = frame_headers(header, dataset)
    assert frames[0].image_type == ("DERIVED", "PRIMARY", "ADC")
    assert frames[1].image_type == header.image_type


def test_other_objects_say_nothing_of_a_frame(enhanced: tuple[DicomHeader, Dataset]) -> None:
    header, dataset = enhanced
    for own in dataset.PerFrameFunctionalGroupsSequence:
        own.DerivationImageSequence = Sequence([group(EchoTime=99.0)])
        own.ReferencedImageSequence = Sequence([group(FlipAngle=99.0)])
    for frame in frame_headers(header, dataset):
        assert "EchoTime" not in frame.tags
        assert "FlipAngle" not in frame.tags


@pytest.mark.parametrize(("levels", "found"), [(1, True), (3, True), (4, False)])
def test_facts_are_looked_for_three_sequences_deep(
    enhanced: tuple[DicomHeader, Dataset], levels: int, found: bool
) -> None:
    header, dataset = enhanced
    inner = group(FlipAngle=30.0)
    for _ in range(levels):
        inner = group(MRTimingAndRelatedParametersSequence=Sequence([inner]))
    dataset.PerFrameFunctionalGroupsSequence[0].update(inner)
    assert ("FlipAngle" in frame_headers(header, dataset)[0].tags) is found


@pytest.mark.parametrize("fault", ["no position", "too few", "no groups"])
def test_frames_without_a_place_are_refused(
    enhanced: tuple[DicomHeader, Dataset], fault: str
) -> None:
    header, dataset = enhanced
    if fault == "no position":
        del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    elif fault == "too few":
        del dataset.PerFrameFunctionalGroupsSequence[2]
    else:
        del dataset.PerFrameFunctionalGroupsSequence
    with pytest.raises(UnsupportedError, match=r"3 frames .* without positions"):
        frame_headers(header, dataset)


def test_each_frame_has_a_rescale_of_its_own_a_shared_one_or_the_objects(
    enhanced: tuple[DicomHeader, Dataset],
) -> None:
    _, dataset = enhanced
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for item in (shared, *dataset.PerFrameFunctionalGroupsSequence):
        if "PixelValueTransformationSequence" in item:
            del item.PixelValueTransformationSequence
    assert all(found is dataset for found in frame_transforms(dataset))
    one, other = group(RescaleSlope=2.0), group(RescaleSlope=3.0)
    shared.PixelValueTransformationSequence = Sequence([one])
    own = dataset.PerFrameFunctionalGroupsSequence[1]
    own.PixelValueTransformationSequence = Sequence([other])
    assert [float(found.RescaleSlope) for found in frame_transforms(dataset)] == [2.0, 3.0, 2.0]
