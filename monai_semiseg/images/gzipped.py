"""Reading of whole files that may be under gzip, with a check of length and checksum."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from monai_semiseg.errors import ChecksumError, SizeError, TruncatedError
from monai_semiseg.images.volume import warn

GZIP_MAGIC = b"\x1f\x8b"
GZIP_SUFFIXES = (".gz", ".mgz")
_BEYOND = 1 << 20  # bytes behind the last voxel that are read, against zip bombs


def is_gzip(path: Path) -> bool:
    """Return True if a file's first bytes are those of gzip."""
    with path.open("rb") as raw:
        return raw.read(2) == GZIP_MAGIC


def read_head(path: Path, size: int) -> bytes:
    """Return a file's first bytes, decompressed if it is gzip.

    Raises:
        TruncatedError: If they cannot be decompressed.
    """
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            return bytes(stream.read(size))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TruncatedError(
            f"the header cannot be decompressed ({error})",
            expected="a whole file",
            remedy="copy or download the file again",
            path=path,
        ) from error


def read_whole(path: Path, head_size: int, claimed: Callable[[bytes], int]) -> bytes:
    """Read all (uncompressed) bytes of an image; check size and checksum.

    Args:
        path: the file; its content, not its name, decides if it is gzip.
        head_size: bytes that ``claimed`` needs.
        claimed: function from the first bytes to the number of bytes that the header declares.

    Raises:
        TruncatedError: If the file ends early.
        ChecksumError: If it is damaged.
        SizeError: If it holds far more than the header declares.
    """
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if zipped != path.name.lower().endswith(GZIP_SUFFIXES):
            warn(
                path,
                "W_NAME",
                f"the content is {'gzip' if zipped else 'not compressed'}, against the file name",
            )
        stream: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            return _read_checked(stream, path, head_size, claimed)
        except EOFError as error:
            raise TruncatedError(
                f"the compressed data end early, after {path.stat().st_size} bytes",
                expected="a whole gzip stream",
                remedy="copy or download the file again",
                path=path,
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ChecksumError(
                f"damaged gzip data ({error})",
                expected="data that match their checksum",
                remedy="copy or download the file again",
                path=path,
            ) from error


def _read_checked(
    stream: IO[bytes], path: Path, head_size: int, claimed: Callable[[bytes], int]
) -> bytes:
    head = stream.read(head_size)
    total = claimed(head)
    rest = stream.read(max(0, total - len(head)))
    if len(head) + len(rest) < total:
        raise TruncatedError(
            f"{len(head) + len(rest)} of {total} bytes",
            expected="as many bytes as the header claims",
            remedy="copy or download the file again",
            path=path,
        )
    # Read to the end, because gzip verifies its checksum only there.
    extra = 0
    while chunk := stream.read(1 << 16):
        extra += len(chunk)
        if extra > _BEYOND:
            raise SizeError(
                f"more than {total + extra} bytes",
                expected=f"{total} bytes by the header",
                remedy="check the file; it holds more than one image",
                path=path,
            )
    return head + rest
