"""DICOM SEG equals the label map, read by highdicom and SimpleITK, and refers to its source."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    OphthalmicPhotography8BitImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    VLEndoscopicImageStorage,
    VLPhotographicImageStorage,
    XRayAngiographicImageStorage,
    generate_uid,
)

from monai_semiseg.errors import ConfigError, UnsupportedError
from monai_semiseg.export.dicom_seg import write_segmentation
from monai_semiseg.images.scan import read_scan
from tests.scan_builders import empty_slice

NAMES = {0: "background", 1: "Anterior", 2: "Posterior"}
CODES = {1: {"value": "5366008", "scheme": "SCT", "meaning": "Hippocampus"}}
TAGS = {
    "Modality": "MR",
    "SeriesNumber": 3,
    "PatientName": "A^B",
    "PatientID": "7",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "StudyID": "1",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "Rows": 6,
    "Columns": 7,
    "PixelSpacing": [1.5, 0.8],
    "SliceThickness": 2.0,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": 0,
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
}
TILTED = [0.8, 0.6, 0.0, -0.36, 0.48, 0.8]


def series(folder: Path, orientation: list[float], missing: str = "") -> list[Path]:
    """Five slices of 6 rows and 7 columns, files in no order."""
    folder.mkdir(parents=True)
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    shared = {name: generate_uid() for name in uids}
    normal = np.cross(orientation[:3], orientation[3:])
    for k in range(5):
        d = empty_slice(**shared, **TAGS)
        d.InstanceNumber = 5 - k
        d.ImageOrientationPatient = orientation
        d.ImagePositionPatient = [float(v) for v in np.array([-3.0, 4.0, 5.0]) + 2.0 * k * normal]
        d.PixelData = (np.arange(42, dtype="<u2") + k).tobytes()
        if missing:
            delattr(d, missing)
        d.save_as(folder / f"{(k * 3) % 5}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def random_mask() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 3, (7, 6, 5)).astype(np.uint8)


def lps(affine: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [0, -1, 0, 1, 0, 0], TILTED], ids=str
)
def test_read_back_voxel_by_voxel(tmp_path: Path, orientation: list[float]) -> None:
    files = series(tmp_path / "in", [float(v) for v in orientation])
    mask = random_mask()
    affine = read_scan(files).affine
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", NAMES, CODES, "abc")
    found = highdicom.seg.segread(path)
    volume = found.get_volume(combine_segments=True)
    # Where the SEG has a voxel, in mm, the label map has the same label there.
    index = np.indices(volume.array.shape).reshape(3, -1)
    places = volume.affine @ np.vstack([index, np.ones(index.shape[1])])
    ours = np.linalg.inv(lps(affine)) @ places
    nearest = np.rint(ours[:3]).astype(int)
    assert np.abs(ours[:3] - nearest).max() < 1e-3
    assert np.array_equal(mask[tuple(nearest)], volume.array.reshape(-1))
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
    """highdicom #316: 420 was 164 in 8 bits; the segment's description has the label's number."""
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


def rounded(data: pydicom.Dataset, k: int) -> None:
    """Positions with two decimals, cosines with three, and jitter in the last of them."""
    data.ImagePositionPatient = [f"{float(x):.2f}" for x in data.ImagePositionPatient]
    cosines = np.array([float(x) for x in data.ImageOrientationPatient]) + 1e-4 * (k % 2)
    data.ImageOrientationPatient = [f"{x:.3f}" for x in cosines]


def assert_on(path: Path, mask: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> None:
    """Where the SEG has a voxel, in mm, the label map has the same label there."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    index = np.indices(volume.array.shape).reshape(3, -1)
    ours = np.linalg.inv(lps(affine)) @ volume.affine @ np.vstack([index, np.ones(index.shape[1])])
    nearest = np.rint(ours[:3]).astype(int)
    assert np.abs(ours[:3] - nearest).max() < 0.05
    assert np.array_equal(mask[tuple(nearest)], volume.array.reshape(-1))


OBLIQUE = (0.91, 0.38, -0.167)  # made exact below


def oblique() -> list[float]:
    across = np.array(OBLIQUE) / np.linalg.norm(OBLIQUE)
    down = np.cross(across, [0.2, -0.3, 0.9])
    return [*across, *(down / np.linalg.norm(down))]


@pytest.mark.parametrize("gap", [0.6, 3.0])
def test_a_rounded_oblique_series(make: SimpleNamespace, tmp_path: Path, gap: float) -> None:
    files = make.series(tmp_path / "in", orientation=oblique(), gap=gap, count=12, edit=rounded)
    mask = np.tile(random_mask(), (1, 1, 3))[:, :, :12]
    affine = read_scan(files).affine
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", NAMES)
    assert_on(path, mask, affine)
    assert_frames_on_sources(path, files)


def assert_frames_on_sources(path: Path, files: list[Path]) -> None:
    """Each frame names a slice, and lies where it does."""
    for frame in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        source = next(
            data
            for data in map(pydicom.dcmread, files)
            if data.SOPInstanceUID == item.ReferencedSOPInstanceUID
        )
        assert np.abs(np.array(source.ImagePositionPatient, dtype=float) - place).max() < 0.02


def test_a_slightly_tilted_series(make: SimpleNamespace, tmp_path: Path) -> None:
    """0.4 degrees are read as they are, and the frames lie where the slices do."""
    files = make.series(tmp_path / "in", step=(0.0, 0.014, 2.0))
    mask = np.tile(random_mask(), (1, 1, 2))[:, :, :8]
    affine = read_scan(files).affine
    path = write_segmentation(mask, affine, files, tmp_path / "seg.dcm", NAMES)
    assert_frames_on_sources(path, files)


@pytest.mark.parametrize("places", [2, 8])
def test_an_enhanced_source(make: SimpleNamespace, tmp_path: Path, places: int) -> None:
    def written(data: pydicom.Dataset) -> None:
        plane = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        plane.ImageOrientationPatient = [
            f"{float(x):.{places + 1}f}" for x in plane.ImageOrientationPatient
        ]
        for item in data.PerFrameFunctionalGroupsSequence:
            plane = item.PlanePositionSequence[0]
            plane.ImagePositionPatient = [
                f"{float(x):.{places}f}" for x in plane.ImagePositionPatient
            ]

    file = make.enhanced(tmp_path / "multi.dcm", orientation=oblique(), edit=written)
    mask = np.tile(random_mask(), (1, 1, 2))[:, :, :6]
    affine = read_scan(file).affine
    path = write_segmentation(mask, affine, [file], tmp_path / "seg.dcm", NAMES)
    assert_on(path, mask, affine)


def test_a_mask_beside_its_series_is_refused_by_how_much(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    affine = read_scan(files).affine
    affine[1, 3] += 2.5
    with pytest.raises(UnsupportedError, match=r"2\.50 mm off the mask's slices"):
        write_segmentation(random_mask(), affine, files, tmp_path / "seg.dcm", NAMES)


def test_a_mask_that_faces_elsewhere_is_refused_by_how_much(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [1.0, 0, 0, 0, 1.0, 0])
    affine = read_scan(files).affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    with pytest.raises(UnsupportedError, match=r"cosines differ by 2\.000"):
        write_segmentation(random_mask(), affine, files, tmp_path / "seg.dcm", NAMES)


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


FRAMES = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "MG": DigitalMammographyXRayImageStorageForPresentation,
    "US": UltrasoundImageStorage,
    "XA": XRayAngiographicImageStorage,  # a class whose objects may have several frames
    "XC": VLPhotographicImageStorage,
    "ES": VLEndoscopicImageStorage,
    "OP": OphthalmicPhotography8BitImageStorage,
    "SC": SecondaryCaptureImageStorage,
}


def frame(path: Path, kind: str, colour: bool = False, **tags: Any) -> Path:
    """One image of 6 rows and 7 columns without a position in the patient."""
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = FRAMES[kind]
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.SeriesInstanceUID = generate_uid()
    d.StudyInstanceUID = generate_uid()
    without = ("PixelSpacing", "SliceThickness")
    shown = {name: value for name, value in TAGS.items() if name not in without}
    colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    for name, value in {**shown, "Modality": kind, **(colours if colour else {}), **tags}.items():
        setattr(d, name, value)
    d.PixelData = bytes(6 * 7 * 2 * d.SamplesPerPixel)
    d.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("place", [False, True], ids=["no frame of reference", "one"])
@pytest.mark.parametrize("kind", FRAMES)
def test_an_image_without_a_position(tmp_path: Path, kind: str, place: bool) -> None:
    """Rows and columns are those of the source, which the segmentation names."""
    tags = {"FrameOfReferenceUID": generate_uid()} if place else {}
    file = frame(tmp_path / "a.dcm", kind, colour=kind in ("XC", "ES", "OP"), **tags)
    mask = random_mask()[:, :, :1]
    path = write_segmentation(mask, np.eye(4), [file], tmp_path / "seg.dcm", NAMES, CODES)
    source = pydicom.dcmread(file)
    found = highdicom.seg.segread(path)
    pixels = found.get_pixels_by_source_instance([source.SOPInstanceUID], combine_segments=True)
    assert np.array_equal(pixels[0], mask[:, :, 0].T)
    assert [s.SegmentLabel for s in found.SegmentSequence] == ["Anterior", "Posterior"]
    assert ("PlanePositionSequence" in found.PerFrameFunctionalGroupsSequence[0]) is False


def test_one_of_several_frames_is_refused(tmp_path: Path) -> None:
    file = frame(tmp_path / "a.dcm", "XA", NumberOfFrames=3)
    with pytest.raises(UnsupportedError, match="one of 3 frames"):
        write_segmentation(random_mask()[:, :, :1], np.eye(4), [file], tmp_path / "s.dcm", NAMES)


def test_one_slice_with_a_position_has_it(tmp_path: Path) -> None:
    file = series(tmp_path / "in", TILTED)[0]
    slice_of = pydicom.dcmread(file)
    affine = np.eye(4)
    affine[:3, 0] = np.array(TILTED[:3]) * 0.8
    affine[:3, 1] = np.array(TILTED[3:]) * 1.5
    affine[:3, 2] = np.cross(TILTED[:3], TILTED[3:]) * 2.0
    affine[:3, 3] = slice_of.ImagePositionPatient
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    mask = random_mask()[:, :, :1]
    path = write_segmentation(mask, ras, [file], tmp_path / "seg.dcm", NAMES)
    found = highdicom.seg.segread(path)
    (position,) = found.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    assert position.ImagePositionPatient == pytest.approx(slice_of.ImagePositionPatient)


def test_segments_have_the_previews_colours(tmp_path: Path) -> None:
    file = frame(tmp_path / "a.dcm", "CR")
    path = write_segmentation(
        random_mask()[:, :, :1], np.eye(4), [file], tmp_path / "seg.dcm", NAMES
    )
    colours = [
        highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
        for segment in pydicom.dcmread(path).SegmentSequence
    ]
    assert [colour.to_rgb() for colour in colours] == [(255, 176, 0), (0, 208, 255)]


def test_the_files_of_other_channels_are_left_out(tmp_path: Path) -> None:
    first = series(tmp_path / "T1", [1.0, 0, 0, 0, 1.0, 0])
    second = series(tmp_path / "T2", [1.0, 0, 0, 0, 1.0, 0])
    affine = read_scan(first).affine
    path = write_segmentation(random_mask(), affine, [*first, *second], tmp_path / "s.dcm", NAMES)
    (referenced,) = pydicom.dcmread(path).ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == pydicom.dcmread(first[0]).SeriesInstanceUID
    assert len(referenced.ReferencedInstanceSequence) == 5
