"""Kinds of DICOM objects by SOP class: scans, objects without an image, unsupported images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import pydicom

from monai_semiseg.errors import CodecError, InputError, UnsupportedError
from monai_semiseg.images.dicom_header import DicomHeader

_NO_PIXELS = {
    "SR": "structured report",
    "PR": "presentation state",
    "KO": "key object note",
    "RTSTRUCT": "contours",
    "SEG": "segmentation",
    "DOC": "document",
    "REG": "registration",
    "RTPLAN": "treatment plan",
    "RTDOSE": "dose grid",
    "ECG": "waveform",
}
# Classes without "Image" in their name that hold voxels of a scan.
_ALSO_SCANS = ("Enhanced US Volume", "Parametric Map")
_SCREENSHOT = "Secondary Capture"
_WHOLE_SLIDE = ("Whole Slide", "Tiled Pyramidal")

# Part of the name of a SOP class of 2-D images or cine series -> common name.
_PICTURES = {
    "Computed Radiography": "radiograph",
    "Digital X-Ray": "radiograph",
    "Mammography": "mammogram",
    "Breast Projection": "mammogram",
    "Intra-Oral": "dental radiograph",
    "Ultrasound": "ultrasound image",
    "Photoacoustic": "photoacoustic image",
    "Intravascular": "intravascular image",
    "Angiographic Image": "angiogram",
    "Angiographic Bi-Plane": "angiogram",
    "Enhanced XA": "angiogram",
    "Enhanced XRF": "fluoroscopy image",
    "Radiofluoroscopic": "fluoroscopy image",
    "Endoscopic": "endoscopy image",
    "Microscopic": "microscopy image",
    "Microscopy": "microscopy image",
    "Photographic": "photograph",
    "Photography": "photograph",
    "En Face": "ophthalmic image",
    "VL Image": "photograph",
    "VL Multi-frame": "photograph",
    "RT Image": "radiotherapy image",
    "Hardcopy": "printed film",
    _SCREENSHOT: "secondary capture",
}
_CINE = ("angiogram", "fluoroscopy", "ultrasound", "endoscopy", "photograph", "microscopy")


def skip_reason(header: DicomHeader) -> str:
    """Return the reason to skip an object; empty if it is, or should be, part of a scan."""
    name = header.class_name
    if header.sop_class == pydicom.uid.MediaStorageDirectoryStorage:
        return "DICOMDIR (a list of other files), not a scan"
    if header.modality in _NO_PIXELS and not header.is_image_class:
        return f"DICOM {header.modality} ({_NO_PIXELS[header.modality]}), not a scan"
    if name and not header.is_image_class and name not in _ALSO_SCANS:
        return f"DICOM {header.modality or 'object'} ({name}), not a scan"
    if not header.is_image:
        return f"DICOM {header.modality or 'object'} without pixels"
    if "LOCALIZER" in header.image_type:
        return "localizer"
    if header.is_colour and not _picture(header.class_name):
        return f"a colour image ({header.modality or name}), not a scan"
    return ""


def unsupported_error(header: DicomHeader) -> InputError | None:
    """Return the error for an image that this version cannot read; None if it can."""
    if fault := _unreadable_syntax(header):
        return fault
    if "MOSAIC" in header.image_type:
        return _unsupported(
            header, "a mosaic: all slices of a volume side by side in one image", "dcm2niix"
        )
    if header.parts > 1:
        return UnsupportedError(
            f"one of {header.parts} parts of an image (a concatenation)",
            expected="all frames in one file",
            remedy="export the whole image in one file, or as single-frame images",
            path=header.path,
        )
    if any(words in header.class_name for words in _WHOLE_SLIDE):
        return UnsupportedError(
            "a whole slide in tiles",
            expected="one picture",
            remedy="cut the slide into tiles, and save each as a picture (OpenSlide, QuPath)",
            path=header.path,
        )
    picture = _picture(header.class_name)
    cine = header.frames > 1 and picture.startswith(_CINE)
    if header.frames == 1 or not (cine or is_single(header)):
        return None
    return UnsupportedError(
        _frames_of(header, picture),
        expected="one 2-D image, or the slices of a 3-D scan with positions",
        remedy="predict --frames each segments every frame as a separate image",
        path=header.path,
    )


def beside_scans(headers: Sequence[DicomHeader]) -> dict[Path, str]:
    """Return the reasons to skip screenshots that lie beside other images.

    A secondary capture is an image of its own, unless a study or a folder has others: then it is a
    report or a picture of these.
    """
    shots = [header for header in headers if _is_screenshot(header)]
    others = [header for header in headers if not _is_screenshot(header)]
    places = {header.study_uid for header in others} | {header.path.parent for header in others}
    return {
        shot.path: _screenshot_of(shot)
        for shot in shots
        if shot.study_uid in places or shot.path.parent in places
    }


def _is_screenshot(header: DicomHeader) -> bool:
    return _picture(header.class_name) == _PICTURES[_SCREENSHOT] and is_single(header)


def _screenshot_of(header: DicomHeader) -> str:
    if header.frames > 1:
        return _frames_of(header, _PICTURES[_SCREENSHOT])
    colour = "colour" if header.is_colour else "grey"
    return f"a single {colour} secondary capture ({header.modality or 'no modality'}) beside scans"


def _unreadable_syntax(header: DicomHeader) -> InputError | None:
    """Return the error for a transfer syntax that no decoder supports, installed or not."""
    if not header.transfer_syntax or _has_decoder(header.transfer_syntax):
        return None
    name = pydicom.uid.UID(header.transfer_syntax).name
    if any(word in name for word in ("MPEG", "HEVC", "SMPTE")):
        return _unsupported(
            header, f"a video ({name}) of {header.frames} frames", "a tool that extracts frames"
        )
    if "JPIP" in name:
        return UnsupportedError(
            f"the pixels are not in the file, but on a server ({name})",
            expected="pixels in the file",
            remedy="export the series with its pixels",
            path=header.path,
        )
    return CodecError(
        f"pixels in a transfer syntax that no decoder supports ({name})",
        expected="a transfer syntax that pydicom decodes",
        remedy="export the series uncompressed, or decompress it (gdcmconv --raw, dcmdjpeg)",
        path=header.path,
    )


def _unsupported(header: DicomHeader, found: str, tool: str) -> UnsupportedError:
    return UnsupportedError(
        found,
        expected="slices of a 3-D scan, one in each file or frame",
        remedy=f"convert it first with {tool}",
        path=header.path,
    )


@functools.cache
def _picture(class_name: str) -> str:
    """Return the common name of 2-D images of the class; empty if it is a class of scans."""
    if class_name.startswith("X-Ray 3D"):
        return ""
    return next((word for part, word in _PICTURES.items() if part in class_name), "")


@functools.cache
def _has_decoder(syntax: str) -> bool:
    """Return True if pydicom supports a transfer syntax, with or without the packages for it."""
    try:
        pydicom.pixels.get_decoder(syntax)
    except NotImplementedError:
        return False
    return True


def is_single(header: DicomHeader) -> bool:
    """Return True if a 2-D image is not part of a volume, whatever series it belongs to.

    A grey image with a position may be a slice of a scan (reformatted angiograms, 3-D ultrasound),
    and so may grey frames.
    """
    if not _picture(header.class_name):
        return False
    placed = bool(header.position and header.orientation)
    return header.is_colour or (header.frames == 1 and not placed)


def _frames_of(header: DicomHeader, picture: str) -> str:
    code = f" ({header.modality})" if header.modality else ""
    over_time = " over time" if picture.startswith(_CINE) else ""
    return f"{header.frames} frames{over_time}, not a volume: {picture}{code}"
