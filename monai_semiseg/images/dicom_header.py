"""What the intake needs of a DICOM file, from its header alone; pixel data stay unread."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from monai_semiseg.errors import DicomError

# What pydicom, its decoders and highdicom let through when bytes are damaged (found by
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

# Descriptive tags only; names, dates and ids of the patient are never read, so that they cannot
# leak into a report.
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "DiffusionBValue",
    "InversionTime",
    "TriggerTime",
    "AcquisitionTime",
    "FrameOfReferenceUID",
]

# How pydicom and highdicom begin what they say of a value, most of which they quote, and of bytes
# that they read right all the same.
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
    dynamic: tuple[tuple[str, str], ...]  # what may tell apart volumes within one series

    @property
    def is_image(self) -> bool:
        """Whether the object holds pixels (SR, PR, KO, RTSTRUCT, PDF do not)."""
        return min(self.size) > 0


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes carry the DICOM preamble."""
    return head[128:132] == b"DICM"


@contextmanager
def values_unquoted() -> Iterator[None]:
    """Keep back what pydicom and highdicom say of values that break a rule, and of harmless bytes.

    They quote the value, which may be a patient's, once for every slice, and no voxel depends on
    it. All else that they say is heard.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _HARMLESS, UserWarning)
        yield


def read_header(path: Path) -> DicomHeader | None:
    """Read one file's header.

    Files without the preamble are tried too, and count only if they name a SOP class.

    Returns:
        The header, or None if the file is no DICOM object.

    Raises:
        DicomError: If it begins as DICOM but is damaged: pydicom alone returns an empty dataset for
            a file that is cut within its header.
    """
    with path.open("rb") as stream:
        declared = looks_like_dicom(stream.read(132))
    try:
        with values_unquoted():
            dataset = pydicom.dcmread(
                path, stop_before_pixels=True, force=not declared, specific_tags=_TAGS
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
    if header.sop_class and _is_whole(header):
        return header
    if declared:
        raise DicomError(
            "the header ends before it says what the file holds",
            expected="a whole DICOM file",
            remedy="export the series again",
            path=path,
        )
    return None


def _is_whole(header: DicomHeader) -> bool:
    """Whether the header goes on to what every object of its class has: a cut image must not pass for a report."""
    if header.sop_class == pydicom.uid.MediaStorageDirectoryStorage:
        return True
    is_image_class = "Image Storage" in pydicom.uid.UID(header.sop_class).name
    return bool(header.series_uid) and (header.is_image or not is_image_class)


def _header(path: Path, dataset: pydicom.Dataset) -> DicomHeader:
    def text(name: str) -> str:
        value = dataset.get(name)
        return "" if value is None else str(value).strip()

    def numbers(name: str) -> tuple[float, ...]:
        value = dataset.get(name)
        if value is None or value == "":
            return ()
        items: Any = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
        return tuple(float(item) for item in items)

    def number(name: str) -> float:
        return next(iter(numbers(name)), 0.0)

    kinds = dataset.get("ImageType") or ()
    return DicomHeader(
        path=path,
        sop_class=str(dataset.get("SOPClassUID") or ""),
        sop_uid=text("SOPInstanceUID"),
        series_uid=text("SeriesInstanceUID"),
        series_number=int(number("SeriesNumber")),
        modality=text("Modality").upper(),
        image_type=tuple(
            str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds)
        ),
        frames=int(number("NumberOfFrames")) or 1,
        samples=int(number("SamplesPerPixel")) or 1,
        photometric=text("PhotometricInterpretation").upper(),
        size=(int(number("Rows")), int(number("Columns"))),
        position=numbers("ImagePositionPatient"),
        orientation=numbers("ImageOrientationPatient"),
        spacing=numbers("PixelSpacing"),
        thickness=number("SpacingBetweenSlices") or number("SliceThickness"),
        dynamic=tuple((name, text(name)) for name in _DYNAMIC),
    )


# In the order in which they are tried when two slices of a series share one place.
_DYNAMIC = (
    "EchoNumbers",
    "EchoTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "InversionTime",
    "TriggerTime",
    "AcquisitionNumber",
    "AcquisitionTime",
)
