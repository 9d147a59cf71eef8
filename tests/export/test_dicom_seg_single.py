"""DICOM SEG of a single image, mostly without a position in the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
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

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.export.dicom_seg import write_segmentation
from tests.export.seg_builders import CODES, NAMES, TAGS, TILTED, random_mask, series

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
    """Write one image of 6 rows and 7 columns without a position in the patient."""
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
    """Check that rows and columns are those of the source, which the segmentation names."""
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
