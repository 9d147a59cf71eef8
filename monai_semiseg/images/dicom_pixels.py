"""Stored values of DICOM pixels, equal in every transfer syntax, and rescaled values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    RLELossless,
)

from monai_semiseg.errors import CodecError, InputError, TruncatedError

_UNDECLARED = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}  # implicit, little-endian -> transfer syntax
_START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)


def stored_values(dataset: pydicom.Dataset, frame: int | None = None) -> NDArray[Any]:
    """Decode the pixels and mask the bits that do not belong to them.

    Bits above BitsStored may hold an overlay or random values, and pydicom masks them in some
    transfer syntaxes only. Here they are masked in all. Signed values are extended from their own
    sign bit. Values that end at another HighBit than BitsStored - 1 are shifted down, unless the
    compressed values are shifted already.

    Args:
        dataset: the object.
        frame: number of the one frame to decode, from 0; None decodes all.

    Returns:
        Integers ``(rows, columns)`` or ``(frames, rows, columns)``; floats as they are.
    """
    _declare_syntax(dataset)
    pixels: NDArray[Any] = pydicom.pixels.pixel_array(
        dataset, index=frame, correct_unused_bits=False
    )
    if pixels.dtype.kind not in "iu" or int(dataset.BitsAllocated) < 8:
        return pixels
    stored = int(dataset.BitsStored)
    above = 8 * pixels.dtype.itemsize - stored
    low = int(dataset.get("HighBit", stored - 1)) + 1 - stored
    if not 0 <= low <= above or (low and _bits_in_stream(dataset) <= stored):
        low = 0
    if not above:
        return pixels
    # To the top, and back again with the sign: numpy shifts signed integers arithmetically.
    return np.asarray(np.right_shift(np.left_shift(pixels, above - low), above))


def _declare_syntax(dataset: pydicom.Dataset) -> None:
    if not dataset.file_meta.get("TransferSyntaxUID"):  # an old file that begins with its tags
        dataset.file_meta.TransferSyntaxUID = _UNDECLARED[dataset.original_encoding]


def colour_values(dataset: pydicom.Dataset, frame: int | None = None) -> NDArray[Any]:
    """Decode the pixels of a colour image as red, green and blue.

    YBR of any sampling is converted, and the numbers of a palette are looked up.

    Args:
        dataset: the object.
        frame: number of the one frame to decode, from 0; None for an object of one frame.

    Returns:
        Integers ``(rows, columns, 3)``.
    """
    if str(dataset.PhotometricInterpretation).strip() == "PALETTE COLOR":
        looked_up = pydicom.pixels.apply_color_lut(stored_values(dataset, frame), dataset)
        return np.asarray(looked_up)[..., :3]
    _declare_syntax(dataset)
    return np.asarray(pydicom.pixels.pixel_array(dataset, index=frame))


def inverted(values: NDArray[np.float32], dataset: pydicom.Dataset) -> NDArray[np.float32]:
    """Turn dark into bright within the range that the stored bits allow.

    Args:
        values: result of :func:`modality_values`.
        dataset: the object.
    """
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0))
    least = -(2 ** (bits - 1)) if signed else 0
    ends = np.array([least, least + 2**bits - 1], dtype=np.int64)
    low, high = modality_values(ends, dataset)
    return np.asarray(low + high - values, dtype=np.float32)


def _bits_in_stream(dataset: pydicom.Dataset) -> int:
    """Return the bits of a compressed value, as the codec declares them, else of the whole word."""
    syntax = dataset.file_meta.TransferSyntaxUID
    word = int(dataset.BitsAllocated)
    if not syntax.is_encapsulated or syntax == RLELossless:
        return word
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    if syntax in JPEG2000TransferSyntaxes:
        return int(pydicom.pixels.utils.get_j2k_parameters(frame).get("precision", word))
    at = 2  # JPEG and JPEG-LS: segments of a marker, a length and data
    while at + 4 < len(frame):
        if frame[at + 1] in _START_OF_FRAME:
            return int(frame[at + 4])
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return word


def modality_values(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[np.float32]:
    """Apply the modality transformation: its look-up table, or RescaleSlope and RescaleIntercept.

    There is one rule for classic and enhanced objects: these values are used, never those of a
    real-world value mapping or a display window. So a network gets the same numbers, whichever way
    a scanner or a converter wrote the scan.

    Args:
        stored: result of :func:`stored_values`.
        dataset: data set with the transformation: the object, or a frame's item of its sequence.
    """
    return np.asarray(pydicom.pixels.apply_modality_lut(stored, dataset), dtype=np.float32)


def pixel_error(dataset: pydicom.Dataset | None, path: Path, error: Exception) -> InputError:
    """Return the error for pixels that cannot be decoded: a missing decoder, or damaged data.

    The text of pydicom's error is left out, because it may quote data of the patient.
    """
    meta = getattr(dataset, "file_meta", None) or pydicom.Dataset()
    syntax = pydicom.uid.UID(str(meta.get("TransferSyntaxUID", "")))
    if isinstance(error, RuntimeError) and (packages := _missing_packages(syntax)):
        return CodecError(
            f"pixels are compressed ({syntax.name})",
            expected="an installed decoder",
            remedy=f"pip install {packages}",
            path=path,
        )
    return TruncatedError(
        "the pixel data are missing, cut off or damaged",
        expected="as many pixels as Rows x Columns",
        remedy="export or copy the series again",
        path=path,
    )


def _missing_packages(syntax: pydicom.uid.UID) -> str:
    """Return the packages to install for a transfer syntax without an installed decoder.

    Pillow decodes JPEG Extended with 8 bits only.
    """
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError:
        return ""
    if decoder.is_available and syntax != JPEGExtended12Bit:
        return ""
    wanted = next((text for text in decoder.missing_dependencies if text.startswith("pylib")), "")
    return " ".join(re.findall(r"([\w-]+)>=", wanted))
