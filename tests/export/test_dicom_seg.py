"""DICOM SEG equals the label map, read by highdicom and SimpleITK, and refers to its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from monai_semiseg.errors import ConfigError, UnsupportedError
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.images.scan import read_scan
from tests.export.seg_builders import CODES, NAMES, TILTED, assert_on, lps, random_mask, series


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [0, -1, 0, 1, 0, 0], TILTED], ids=str
)
def test_read_back_voxel_by_voxel(tmp_path: Path, orientation: list[float]) -> None:
    files = series(tmp_path / "in", [float(v) for v in orientation])
    mask = random_mask()
    affine = read_scan(files).affine
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", NAMES, CODES, "abc")
    assert_on(path, mask, affine, tolerance=1e-3)
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    assert volume.array.size == mask.size
    image = sitk.ReadImage(str(path))
    assert sitk.GetArrayFromImage(image).sum() > 0


def test_it_names_its_source_and_its_segments(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    path = write_segmentation(
        random_mask(), read_scan(files).affine, files, tmp_path / "seg.dcm", NAMES, CODES, "abc"
    )
    found = pydicom.dcmread(path)
    sources = [pydicom.dcmread(file) for file in files]
    assert found.Modality == "SEG" and found.StudyInstanceUID == sources[0].StudyInstanceUID
    assert found.SeriesInstanceUID != sources[0].SeriesInstanceUID
    referenced = {
        i.ReferencedSOPInstanceUID
        for i in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == {source.SOPInstanceUID for source in sources}
    assert [s.SegmentLabel for s in found.SegmentSequence] == ["Anterior", "Posterior"]
    kinds = [s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in found.SegmentSequence]
    assert kinds == ["5366008", "91723000"]


@pytest.mark.parametrize("values", [[0, 205, 420], [0, 1, 4], list(range(0, 900, 3))], ids=len)
def test_segments_are_consecutive_whatever_the_numbers(tmp_path: Path, values: list[int]) -> None:
    """Number segments from 1: in highdicom #316, label 420 became 164 in 8 bits."""
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    classes = np.random.default_rng(0).integers(0, len(values), (7, 6, 5))
    names = {value: f"label_{value}" for value in values}
    affine = read_scan(files).affine
    mask = np.asarray(values, np.uint16)[classes]
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", names)
    found = highdicom.seg.segread(path)
    segments = found.SegmentSequence
    assert [s.SegmentNumber for s in segments] == list(range(1, len(values)))
    assert [s.SegmentLabel for s in segments] == [names[value] for value in values[1:]]
    assert [s.SegmentDescription for s in segments] == [f"label number {v}" for v in values[1:]]
    volume = found.get_volume(combine_segments=True)
    places = np.indices(volume.array.shape).reshape(3, -1)
    ours = np.linalg.inv(lps(affine)) @ volume.affine @ np.vstack([places, places[:1] * 0 + 1])
    assert np.array_equal(classes[tuple(np.rint(ours[:3]).astype(int))], volume.array.reshape(-1))


def test_a_label_without_a_name_is_no_segment(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    mask = random_mask() * 3
    with pytest.raises(UnsupportedError, match="labels without a name: 3, 6"):
        write_segmentation(mask, read_scan(files).affine, files, tmp_path / "seg.dcm", NAMES)


def test_an_empty_mask(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    empty = np.zeros((7, 6, 5), np.uint8)
    path = write_segmentation(empty, read_scan(files).affine, files, tmp_path / "seg.dcm", NAMES)
    assert not highdicom.seg.segread(path).get_volume(combine_segments=True).array.any()


@pytest.mark.parametrize("name", ["PatientSex", "StudyTime", "AccessionNumber", "PatientName"])
def test_a_de_identified_source(tmp_path: Path, name: str) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0], missing=name)
    write_segmentation(random_mask(), read_scan(files).affine, files, tmp_path / "seg.dcm", NAMES)
    assert (tmp_path / "seg.dcm").stat().st_size > 1000


@pytest.mark.parametrize("name", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_source_that_cannot_be_referred_to_is_refused(tmp_path: Path, name: str) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0], missing=name)
    with pytest.raises(UnsupportedError, match=f"a series without {name}"):
        write_segmentation(random_mask(), np.eye(4), files, tmp_path / "seg.dcm", NAMES)
    assert not (tmp_path / "seg.dcm").exists()


def test_codes_are_whole(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    with pytest.raises(ConfigError, match="has no \\['meaning', 'scheme'\\]"):
        write_segmentation(
            random_mask(), np.eye(4), files, tmp_path / "s.dcm", NAMES, {1: {"value": "1"}}
        )


def test_many_flags_fit_into_the_description(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    flags = ["field_of_view", "voxel_size", "modality", "label_volume"]
    path = write_segmentation(
        random_mask(),
        read_scan(files).affine,
        files,
        tmp_path / "seg.dcm",
        NAMES,
        model="abc",
        flags=flags,
    )
    text = str(pydicom.dcmread(path).SeriesDescription)
    assert text == "flagged: field_of_view, voxel_size, modality, label_volume"


def test_given_codes_beat_those_of_the_names(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    names = {0: "background", 1: "left kidney", 2: "tumour"}
    path = write_segmentation(
        random_mask(), read_scan(files).affine, files, tmp_path / "seg.dcm", names, CODES
    )
    first, second = pydicom.dcmread(path).SegmentSequence
    (kind,) = first.SegmentedPropertyTypeCodeSequence
    assert kind.CodeMeaning == "Hippocampus"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in kind
    (category,) = second.SegmentedPropertyCategoryCodeSequence
    assert category.CodeMeaning == "Morphologically Abnormal Structure"


def test_the_reason_is_told_without_the_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    for text, told in (("no such plane", True), ("A^B has no such plane", False)):

        def fail(*_: Any, text: str = text, **__: Any) -> None:
            raise ValueError(text)

        monkeypatch.setattr(highdicom.seg, "Segmentation", fail)
        with pytest.raises(UnsupportedError) as caught:
            write_segmentation(
                random_mask(), read_scan(files).affine, files, tmp_path / "seg.dcm", NAMES
            )
        assert ("no such plane" in caught.value.found) == told and "A^B" not in str(caught.value)


def test_the_files_of_other_channels_are_left_out(tmp_path: Path) -> None:
    first = series(tmp_path / "T1", [1.0, 0, 0, 0, 1.0, 0])
    second = series(tmp_path / "T2", [1.0, 0, 0, 0, 1.0, 0])
    affine = read_scan(first).affine
    path = write_segmentation(random_mask(), affine, [*first, *second], tmp_path / "s.dcm", NAMES)
    (referenced,) = pydicom.dcmread(path).ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == pydicom.dcmread(first[0]).SeriesInstanceUID
    assert len(referenced.ReferencedInstanceSequence) == 5
