"""Headers of DICOM files: the attributes that reading needs, without the pixel data."""

from __future__ import annotations

import functools
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from monai_semiseg.errors import DicomError
from monai_semiseg.images.dicom_tags import HEADER_TAGS, splitting_tags
from monai_semiseg.images.dicom_values import numbers_of, text_of

# Errors that pydicom, its decoders and highdicom raise for damaged bytes (found by
# benchmarks/fuzz.py).
PARSING_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)

# How warnings of pydicom and highdicom begin that quote a value, or that concern bytes which are
# read correctly all the same.
_HARMLESS = (
    r"Invalid value|Value \"|Values for elements|The value length|The string \""
    r"|Expected (ex|im)plicit VR|The pixel data is \d+ bytes long, which indicates"
)


@dataclass(frozen=True)
class DicomHeader:
    """Geometry and identity of one DICOM image file. Positions in mm, LPS."""

    path: Path
    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    series_number: int
    modality: str
    image_type: tuple[str, ...]
    frames: int
    samples: int
    photometric: str
    size: tuple[int, int]  # rows, columns
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]  # between rows, between columns
    thickness: float
    transfer_syntax: str
    tags: Mapping[str, str]  # those of SPLITTING_TAGS that the object has, as text
    parts: int  # objects of one concatenation that share the frames
    frame: int = 0  # within the file, from 0
    detector_spacing: tuple[float, ...] = ()  # as spacing, but on the detector, not in the patient

    @property
    def is_image(self) -> bool:
        """Return True if the object has pixels (SR, PR, KO, RTSTRUCT and PDF objects do not)."""
        return min(self.size) > 0

    @property
    def name(self) -> str:
        """Return the file's name, with the frame number if there are several frames."""
        return f"{self.path.name} frame {self.frame + 1}" if self.frames > 1 else self.path.name

    @property
    def is_colour(self) -> bool:
        """Return True if the pixels are colours: several values, or numbers of a palette."""
        return self.samples > 1 or self.photometric == "PALETTE COLOR"

    @property
    def class_name(self) -> str:
        """Return the name of the SOP class without "Storage"; empty if it is not standard."""
        return _class_name(self.sop_class)

    @property
    def is_image_class(self) -> bool:
        """Return True if objects of the SOP class are images."""
        return " Image" in self.class_name


@functools.cache
def _class_name(sop_class: str) -> str:
    name = pydicom.uid.UID(sop_class).name
    return "" if name == sop_class else name.replace(" Storage", "")


def looks_like_dicom(head: bytes) -> bool:
    """Return True if the first 132 bytes hold the DICOM preamble."""
    return head[128:132] == b"DICM"


@contextmanager
def values_unquoted() -> Iterator[None]:
    """Silence warnings of pydicom and highdicom about invalid values and harmless bytes.

    Such a warning quotes the value, which may be a patient's, once for every slice, and no voxel
    depends on it. All other warnings are issued.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _HARMLESS, UserWarning)
        yield


def read_header(path: Path) -> DicomHeader | None:
    """Read one file's header.

    Files without the preamble are tried too; they count only if they name a SOP class.

    Returns:
        The header, or None if the file is not a DICOM object.

    Raises:
        DicomError: If it begins as DICOM but is damaged: pydicom alone returns an empty dataset for
            a file that is cut within its header.
    """
    declared = begins_as_dicom(path)
    try:
        with values_unquoted():
            dataset = pydicom.dcmread(
                path, stop_before_pixels=True, force=not declared, specific_tags=HEADER_TAGS
            )
            header = _header(path, dataset)
    except PARSING_ERRORS as error:
        if not declared:
            return None
        raise DicomError(
            "the header cannot be read",
            expected="a whole DICOM file",
            remedy="export the series again",
            path=path,
        ) from error
    return _checked(header, declared)


def read_object(path: Path) -> tuple[DicomHeader, pydicom.Dataset | None] | None:
    """Read a whole file at once: its header, and the data set with the pixels.

    Returns:
        Both, or None if the file is not a DICOM object. The data set is None if only the header of
        the file can be read.

    Raises:
        DicomError: As :func:`read_header`.
    """
    declared = begins_as_dicom(path)
    try:
        with values_unquoted():
            dataset = pydicom.dcmread(path, force=not declared)
            header = _header(path, dataset)
    except PARSING_ERRORS:
        alone = read_header(path)
        return None if alone is None else (alone, None)
    checked = _checked(header, declared)
    return None if checked is None else (checked, dataset)


def begins_as_dicom(path: Path) -> bool:
    """Return True if a file begins with the DICOM preamble."""
    with path.open("rb") as stream:
        return looks_like_dicom(stream.read(132))


def _checked(header: DicomHeader, declared: bool) -> DicomHeader | None:
    """Return a header if it is whole; None if the file was not said to be DICOM.

    Raises:
        DicomError: If it was, and the header is not whole.
    """
    if header.sop_class and _is_whole(header):
        return header
    if not declared:
        return None
    raise DicomError(
        _missing_part(header),
        expected="a whole DICOM file",
        remedy="export the series again",
        path=header.path,
    )


def _missing_part(header: DicomHeader) -> str:
    if not header.sop_class:
        return "the header ends before the SOP class"
    if header.is_image:
        return f"the header of this {header.class_name or 'image'} names no SeriesInstanceUID"
    return f"the header of this {header.class_name or 'object'} ends before the size of the image"


def _is_whole(header: DicomHeader) -> bool:
    """Return True if the header has the attributes that every object of its class has.

    A truncated image must not be taken for a report. An object of a class without pixels is not an
    image, even if it lacks other attributes (a DICOMDIR belongs to no series).
    """
    if header.is_image_class:
        return bool(header.series_uid) and header.is_image
    return bool(header.class_name or header.series_uid)


def _header(path: Path, dataset: pydicom.Dataset) -> DicomHeader:
    meta = getattr(dataset, "file_meta", None) or pydicom.Dataset()

    def number(name: str) -> float:
        return next(iter(numbers_of(dataset, name)), 0.0)

    return DicomHeader(
        path=path,
        sop_class=text_of(dataset, "SOPClassUID") or text_of(meta, "MediaStorageSOPClassUID"),
        sop_uid=text_of(dataset, "SOPInstanceUID"),
        study_uid=text_of(dataset, "StudyInstanceUID"),
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        series_number=int(number("SeriesNumber")),
        modality=text_of(dataset, "Modality").upper(),
        image_type=tuple(
            word.upper() for word in text_of(dataset, "ImageType").split("\\") if word
        ),
        frames=int(number("NumberOfFrames")) or 1,
        samples=int(number("SamplesPerPixel")) or 1,
        photometric=text_of(dataset, "PhotometricInterpretation").upper(),
        size=(int(number("Rows")), int(number("Columns"))),
        position=numbers_of(dataset, "ImagePositionPatient"),
        orientation=numbers_of(dataset, "ImageOrientationPatient"),
        spacing=numbers_of(dataset, "PixelSpacing"),
        thickness=number("SpacingBetweenSlices") or number("SliceThickness"),
        transfer_syntax=text_of(meta, "TransferSyntaxUID"),
        tags=splitting_tags(dataset),
        parts=int(number("InConcatenationTotalNumber")) or 1,
        detector_spacing=numbers_of(dataset, "ImagerPixelSpacing"),
    )
