"""PNG files: a walk over the chunks, which finds what pillow accepts without a word.

Pillow reads 16-bit colours as 8 bits, does not check the sums of the pixel data and limits the size
of texts that no pixel depends on.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.errors import ChecksumError, TruncatedError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
# Colour types.
_GREY_ALPHA = 4
_RGBA = 6


def png_content(path: Path, *, pixels: bool = True) -> bytes:
    """Return the chunks that the picture depends on as a PNG file, all of them checked.

    Args:
        path: the file.
        pixels: with the chunks of the pixels; size, kind and orientation need none.

    Raises:
        TruncatedError: If the file ends before its last chunk.
        ChecksumError: If a chunk does not match its checksum.
    """
    with path.open("rb") as stream:
        return _assembled(_chunks(stream, path, pixels=pixels))


def is_deep_colour(content: bytes) -> bool:
    """Return True for more than one value of 16 bits per pixel, which pillow cuts to 8 bits."""
    depth, colour = content[24], content[25]
    return depth == 16 and colour in (2, _GREY_ALPHA, _RGBA)


def has_alpha(content: bytes) -> bool:
    """Return True if the last value of a pixel is its opacity."""
    return content[25] in (_GREY_ALPHA, _RGBA)


def deep_values(content: bytes) -> NDArray[np.uint16]:
    """Decode a picture of :func:`is_deep_colour` into ``(rows, columns, values)``.

    Raises:
        RuntimeError: If the pixels cannot be decoded.
        OSError: Likewise.
    """
    if content[25] == _GREY_ALPHA:
        return _as_bytes(content)
    import SimpleITK as sitk

    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(content)
        file.flush()
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(file.name)), dtype=np.uint16)


def _as_bytes(content: bytes) -> NDArray[np.uint16]:
    """Decode two values of 16 bits as four of 8 bits: both have four bytes per pixel in PNG."""
    from PIL.PngImagePlugin import PngImageFile

    header = content[16:24] + bytes([8, _RGBA]) + content[26:29]
    relabelled = content[:8] + _chunk(b"IHDR", header) + content[33:]
    with PngImageFile(io.BytesIO(relabelled)) as image:
        return np.ascontiguousarray(image).view(">u2").astype(np.uint16)


def _assembled(chunks: Iterator[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of chunks, those without pixels first."""
    found = list(chunks)
    ahead = [_chunk(kind, data) for kind, data in found if kind not in (b"IDAT", b"IEND")]
    behind = [_chunk(kind, data) for kind, data in found if kind in (b"IDAT", b"IEND")]
    return b"".join([_SIGNATURE, *ahead, *behind])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunks(stream: BinaryIO, path: Path, pixels: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and data of the chunks that the picture depends on; skip all others."""
    stream.seek(len(_SIGNATURE))
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _read(stream, 8, path))
        if kind in _NEEDED and (pixels or kind != b"IDAT"):
            data = _read(stream, length, path)
            if struct.pack(">I", zlib.crc32(kind + data)) != _read(stream, 4, path):
                raise ChecksumError(
                    f"a damaged part ({kind.decode()})",
                    expected="data that match their checksum",
                    remedy="copy or download the file again",
                    path=path,
                )
            yield kind, data
        else:
            stream.seek(length + 4, 1)


def _read(stream: BinaryIO, length: int, path: Path) -> Any:
    data = stream.read(length)
    if len(data) < length:
        raise TruncatedError(
            "the picture ends early",
            expected="a whole PNG file",
            remedy="copy or download the file again",
            path=path,
        )
    return data
