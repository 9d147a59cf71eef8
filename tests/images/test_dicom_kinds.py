"""DICOM objects by their kind: scans, 2-D images, and what is neither, named as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset

from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import collect_warnings

NO_IMAGES: dict[str, tuple[str, str, str]] = {  # SOP class, modality, words of the reason
    "structured report": (uid.ComprehensiveSRStorage, "SR", "structured report"),
    "presentation state": (uid.GrayscaleSoftcopyPresentationStateStorage, "PR", "presentation"),
    "key objects": (uid.KeyObjectSelectionDocumentStorage, "KO", "key object note"),
    "structure set": (uid.RTStructureSetStorage, "RTSTRUCT", "contours"),
    "structure set, other modality": (uid.RTStructureSetStorage, "CT", "RT Structure Set"),
    "plan": (uid.RTPlanStorage, "RTPLAN", "treatment plan"),
    "dose": (uid.RTDoseStorage, "RTDOSE", "dose grid"),
    "PDF": (uid.EncapsulatedPDFStorage, "DOC", "document"),
    "PDF, other modality": (uid.EncapsulatedPDFStorage, "OT", "Encapsulated PDF"),
    "CDA": (uid.EncapsulatedCDAStorage, "SR", "structured report"),
    "STL": (uid.EncapsulatedSTLStorage, "M3D", "Encapsulated STL"),
    "registration": (uid.SpatialRegistrationStorage, "REG", "registration"),
    "fiducials": (uid.SpatialFiducialsStorage, "FID", "Spatial Fiducials"),
    "waveform": (uid.TwelveLeadECGWaveformStorage, "ECG", "waveform"),
    "segmentation": (uid.SegmentationStorage, "SEG", "segmentation"),
    "surfaces": (uid.SurfaceSegmentationStorage, "SEG", "segmentation"),
    "tracts": (uid.TractographyResultsStorage, "MR", "Tractography Results"),
    "spectra": (uid.MRSpectroscopyStorage, "MR", "MR Spectroscopy"),
    "raw data": (uid.RawDataStorage, "MR", "Raw Data"),
    "hanging protocol": (uid.HangingProtocolStorage, "", "Hanging Protocol"),
}


@pytest.mark.parametrize("row", NO_IMAGES)
@pytest.mark.parametrize("series", [True, False])
def test_a_sound_object_without_an_image(
    make: SimpleNamespace, tmp_path: Path, row: str, series: bool
) -> None:
    sop_class, modality, words = NO_IMAGES[row]
    make.no_image(tmp_path / "object.dcm", modality, sop_class)
    if not series:
        data = pydicom.dcmread(tmp_path / "object.dcm")
        del data.SeriesInstanceUID
        data.save_as(tmp_path / "object.dcm")
    found = find_cases(tmp_path, progress=False)
    assert not found.cases
    assert words in found.skipped[0].reason and "not a scan" in found.skipped[0].reason


def test_an_object_with_pixels_that_are_no_scan(make: SimpleNamespace, tmp_path: Path) -> None:
    def spectra(data: Dataset, k: int) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = uid.MRSpectroscopyStorage

    make.series(tmp_path, count=1, edit=spectra)
    assert "MR Spectroscopy" in find_cases(tmp_path, progress=False).skipped[0].reason


def test_a_dicomdir_under_any_name(tmp_path: Path) -> None:
    source = get_testdata_file("DICOMDIR-empty.dcm", download=False)
    assert source is not None
    for name in ("DICOMDIR", "index.dcm"):
        (tmp_path / name).write_bytes(Path(str(source)).read_bytes())
    found = find_cases(tmp_path, progress=False)
    assert not found.cases
    assert len(found.skipped) == 2
    assert all(skipped.reason.startswith("DICOMDIR") for skipped in found.skipped)


def test_a_cut_image_is_no_report(make: SimpleNamespace, tmp_path: Path) -> None:
    file = make.series(tmp_path, count=1)[0]
    content = file.read_bytes()
    file.write_bytes(content[: content.find(b"\x28\x00\x10\x00")])  # before Rows
    case = find_cases(tmp_path, progress=False).cases[0]
    with pytest.raises(InputError, match="CT Image ends before the size of the image"):
        read_case(case)


def picture(
    sop_class: str, modality: str, *, colour: bool = False, frames: int = 1, syntax: str = ""
) -> Callable[[Dataset, int], None]:
    """Make a slice an image without position and orientation."""

    def edit(data: Dataset, k: int) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
        data.Modality = modality
        del data.ImagePositionPatient, data.ImageOrientationPatient
        samples = 3 if colour else 1
        data.SamplesPerPixel = samples
        data.BitsAllocated = 8
        data.BitsStored = 8
        data.HighBit = 7
        data.PixelRepresentation = 0
        data.PixelData = bytes(data.Rows * data.Columns * samples * frames)
        if colour:
            data.PhotometricInterpretation = "RGB"
            data.PlanarConfiguration = 0
        if frames > 1:
            data.NumberOfFrames = frames
        if syntax:
            data.PixelData = pydicom.encaps.encapsulate([bytes(64)])
            data["PixelData"].VR = "OB"
            data.file_meta.TransferSyntaxUID = syntax

    return edit


US = uid.UltrasoundImageStorage
US_CINE = uid.UltrasoundMultiFrameImageStorage
MAMMOGRAM = uid.DigitalMammographyXRayImageStorageForPresentation
IMAGES: dict[str, Any] = {
    "US, colour": picture(US, "US", colour=True),
    "US, grey": picture(US, "US"),
    "US, one frame": picture(US_CINE, "US"),
    "CR": picture(uid.ComputedRadiographyImageStorage, "CR"),
    "DX": picture(uid.DigitalXRayImageStorageForPresentation, "DX"),
    "MG": picture(MAMMOGRAM, "MG"),
    "IO": picture(uid.DigitalIntraOralXRayImageStorageForPresentation, "IO"),
    "XA": picture(uid.XRayAngiographicImageStorage, "XA"),
    "RF": picture(uid.XRayRadiofluoroscopicImageStorage, "RF"),
    "XC": picture(uid.VLPhotographicImageStorage, "XC", colour=True),
    "ES": picture(uid.VLEndoscopicImageStorage, "ES", colour=True),
    "OP": picture(uid.OphthalmicPhotography8BitImageStorage, "OP", colour=True),
    "dermoscopy": picture("1.2.840.10008.5.1.4.1.1.77.1.7", "XC", colour=True),
    "SC, colour": picture(uid.SecondaryCaptureImageStorage, "OT", colour=True),
    "SC, grey": picture(uid.SecondaryCaptureImageStorage, "OT"),
}


@pytest.mark.parametrize("row", IMAGES)
def test_images_of_one_series_are_cases_of_their_own(
    make: SimpleNamespace, tmp_path: Path, row: str
) -> None:
    """Check that thirty stills of one examination are thirty images, and no volume."""
    make.series(tmp_path / "pictures", count=30, uid="1.2.3", edit=IMAGES[row])
    found = find_cases(tmp_path, progress=False)
    assert len(found.cases) == 30 and not found.skipped
    for case in found.cases[:3]:
        with collect_warnings():
            volume = read_case(case)
        assert volume.shape == (7, 6, 1) and volume.spatial_dims == 2
        colour = "colour" in row or row in ("XC", "ES", "OP", "dermoscopy")
        assert volume.channels == (("red", "green", "blue") if colour else ())


REFUSED: dict[str, tuple[Any, str]] = {
    "US cine": (
        picture(US_CINE, "US", frames=30),
        "30 frames over time, not a volume: ultrasound image (US)",
    ),
    "US cine, colour": (
        picture(US_CINE, "US", colour=True, frames=30),
        "30 frames over time, not a volume: ultrasound image (US)",
    ),
    "XA cine": (picture(uid.XRayAngiographicImageStorage, "XA", frames=12), "12 frames over time"),
    "slide": (
        picture(uid.VLWholeSlideMicroscopyImageStorage, "SM", colour=True, frames=9),
        "cut the slide into tiles",
    ),
    "video": (
        picture(
            uid.VideoEndoscopicImageStorage, "ES", colour=True, frames=99, syntax=uid.MPEG2MPML
        ),
        "a video (MPEG2 Main Profile / Main Level) of 99 frames",
    ),
    "HEVC in a US cine": (
        picture(US_CINE, "US", colour=True, frames=99, syntax=uid.HEVCMP51),
        "a video (HEVC",
    ),
    "JPIP": (
        picture(uid.CTImageStorage, "CT", syntax="1.2.840.10008.1.2.4.94"),
        "not in the file, but on a server",
    ),
    "grey frames that do not say where they lie": (
        picture(uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage, "OT", frames=5),
        "5 frames (OT) without positions",
    ),
    "NM": (
        picture(uid.NuclearMedicineImageStorage, "NM", frames=5),
        "5 frames (NM) without positions",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_an_image_that_is_not_read(make: SimpleNamespace, tmp_path: Path, row: str) -> None:
    edit, words = REFUSED[row]
    make.series(tmp_path / "picture", count=2, uid="1.2.3", edit=edit)
    make.series(tmp_path / "scan")
    found = find_cases(tmp_path, progress=False)
    refused = [case for case in found.cases if case.source.parent.name == "picture"] or [
        case for case in found.cases if case.source.name == "picture"
    ]
    assert len(refused) == (1 if row == "JPIP" else 2) and not found.skipped
    for case in refused:
        with pytest.raises(InputError) as caught:
            read_case(case)
        assert caught.value.code in ("E_UNSUPPORTED", "E_CODEC")
        assert words in str(caught.value) and str(case.files[0]) in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 4
        assert "export the series again" not in str(caught.value)
    make.assert_true(read_case(next(case for case in found.cases if case not in refused)))


@pytest.mark.parametrize("colour", [True, False])
def test_screenshots_beside_scans_are_passed_over(
    make: SimpleNamespace, tmp_path: Path, colour: bool
) -> None:
    edit = picture(uid.SecondaryCaptureImageStorage, "OT", colour=colour)
    make.series(tmp_path, count=1, edit=edit, name="shot")
    make.series(tmp_path, name="CT{}")
    found = find_cases(tmp_path, progress=False)
    assert len(found.cases) == 1
    assert ("colour" if colour else "grey") + " secondary capture (OT)" in found.skipped[0].reason
    make.assert_true(read_scan(tmp_path))


def test_secondary_captures_that_say_where_they_lie_are_slices(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    def converted(data: Dataset, k: int) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage

    make.series(tmp_path, edit=converted)
    make.assert_true(read_case(find_cases(tmp_path, progress=False).cases[0]))


SYNTAXES = {
    "JPEG, hierarchical": ("1.2.840.10008.1.2.4.59", "E_CODEC", "no decoder supports"),
    "JPEG 2000, several components": ("1.2.840.10008.1.2.4.93", "E_CODEC", "no decoder supports"),
    "SMPTE": ("1.2.840.10008.1.2.7.1", "E_UNSUPPORTED", "a video (SMPTE"),
    "MPEG-4": (uid.MPEG4HP41, "E_UNSUPPORTED", "a video (MPEG-4"),
    "no plugin": (uid.HTJ2KLossless, "E_CODEC", "pip install pylibjpeg pylibjpeg-openjpeg"),
}


@pytest.mark.parametrize("row", SYNTAXES)
def test_pixels_that_cannot_be_decoded(make: SimpleNamespace, tmp_path: Path, row: str) -> None:
    syntax, code, words = SYNTAXES[row]

    def edit(data: Dataset, k: int) -> None:
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(30)])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = syntax

    make.series(tmp_path, edit=edit)
    found = find_cases(tmp_path, progress=False)
    assert len(found.cases) == 1
    with pytest.raises(InputError) as caught:
        read_case(found.cases[0])
    assert caught.value.code == code and words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rtstruct.dcm", "contours"),
        ("rtplan.dcm", "treatment plan"),
        ("rtdose.dcm", "dose grid"),
        ("test-SR.dcm", "structured report"),
        ("waveform_ecg.dcm", "waveform"),
        ("liver_1frame.dcm", "segmentation"),
    ],
)
def test_objects_of_other_makers(tmp_path: Path, name: str, words: str) -> None:
    """Read files that pydicom brings along."""
    source = get_testdata_file(name, download=False)
    assert source is not None and not isinstance(source, FileDataset)
    (tmp_path / name).write_bytes(Path(source).read_bytes())
    found = find_cases(tmp_path, progress=False)
    assert not found.cases and words in found.skipped[0].reason


def test_values_of_a_palette_are_colours(make: SimpleNamespace, tmp_path: Path) -> None:
    def palette(data: Dataset, k: int) -> None:
        data.PhotometricInterpretation = "PALETTE COLOR"
        data.PixelData = np.zeros((data.Rows, data.Columns), "<u2").tobytes()

    make.series(tmp_path, count=1, edit=palette)
    assert (
        find_cases(tmp_path, progress=False).skipped[0].reason == "a colour image (CT), not a scan"
    )
