"""What a DICOM object is, by its SOP class: part of a scan, no image, or an image not read yet."""

from __future__ import annotations

import functools

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
# Of the classes whose names do not say "Image", these hold voxels of a scan.
_ALSO_SCANS = ("Enhanced US Volume", "Parametric Map")
_SCREENSHOT = "Secondary Capture"
_WHOLE_SLIDE = ("Whole Slide", "Tiled Pyramidal")

# Words of SOP classes whose objects are single pictures or films of them -> what people call them.
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
_FILMED = ("angiogram", "fluoroscopy", "ultrasound", "endoscopy", "photograph", "microscopy")


def why_no_scan(header: DicomHeader) -> str:
    """Return the reason why an object is passed over; empty if it is a scan, or should be one."""
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
    picture = _picture(header.class_name)
    if picture == _PICTURES[_SCREENSHOT] and is_single(header):
        return _told(header, picture)
    if _is_colour(header) and not picture:
        return f"a colour image ({header.modality or name}), not a scan"
    return ""


def why_not_read(header: DicomHeader) -> InputError | None:
    """Return why an image, which is a case, cannot be read by this version; None if it can."""
    if fault := _unreadable_syntax(header):
        return fault
    if "MOSAIC" in header.image_type:
        return _unsupported(
            header, "a mosaic: all slices of a volume side by side in one picture", "dcm2niix"
        )
    if header.parts > 1:
        return UnsupportedError(
            f"one of {header.parts} parts of an image (a concatenation)",
            expected="all frames in one file",
            remedy="export the image whole, or as single-frame images",
            path=header.path,
        )
    if any(words in header.class_name for words in _WHOLE_SLIDE):
        return _unsupported(header, "a whole slide in tiles", "a tool that cuts slides into images")
    picture = _picture(header.class_name)
    film = header.frames > 1 and picture.startswith(_FILMED)
    if not film and not is_single(header):
        return None
    return UnsupportedError(
        _told(header, picture),
        expected="slices of a 3-D scan that say where they lie",
        remedy="leave it out; a later version reads single images",
        path=header.path,
    )


def _unreadable_syntax(header: DicomHeader) -> InputError | None:
    """Pixels that no decoder of this version's libraries can bring back, installed or not."""
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
        f"pixels in a transfer syntax that nothing here decodes ({name})",
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
    """What a single picture of the class is called; empty if the class is one of scans."""
    if class_name.startswith("X-Ray 3D"):
        return ""
    return next((word for part, word in _PICTURES.items() if part in class_name), "")


@functools.cache
def _has_decoder(syntax: str) -> bool:
    """Whether pydicom knows how to decode a transfer syntax, were the packages there."""
    try:
        pydicom.pixels.get_decoder(syntax)
    except NotImplementedError:
        return False
    return True


def is_single(header: DicomHeader) -> bool:
    """Return whether a picture stands alone, whatever series it belongs to.

    A grey one that says where it lies may be a slice of a scan (reformatted angiograms, 3-D
    ultrasound), and so may grey frames.
    """
    if not _picture(header.class_name):
        return False
    placed = bool(header.position and header.orientation)
    return _is_colour(header) or (header.frames == 1 and not placed)


def _is_colour(header: DicomHeader) -> bool:
    return header.samples > 1 or header.photometric == "PALETTE COLOR"


def _told(header: DicomHeader, picture: str) -> str:
    code = f" ({header.modality})" if header.modality else ""
    if header.frames > 1:
        over_time = " over time" if picture.startswith(_FILMED) else ""
        return f"{header.frames} frames{over_time}, not a volume: {picture}{code}"
    colour = "colour" if _is_colour(header) else "grey"
    return f"a single {colour} {picture}{code}, 2-D images are not read yet"
