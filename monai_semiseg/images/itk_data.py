"""Voxel data of NRRD and MetaImage files: where they are, and whether they are all there.

ITK itself fills a truncated file with zeros.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from monai_semiseg.errors import ChecksumError, SizeError, TruncatedError, UnsupportedError

_HEADER_LIMIT = 1 << 20


def is_nrrd(head: bytes) -> bool:
    """Return True if the first bytes are those of an NRRD file."""
    return head.startswith(b"NRRD000")


def is_meta_image(head: bytes) -> bool:
    """Return True if the first bytes are those of a MetaImage header (.mha, .mhd)."""
    return head.lstrip().startswith((b"ObjectType", b"NDims")) and b"=" in head


def check_length(path: Path, expected: int) -> None:
    """Require the voxel bytes that the header declares, and a correct checksum."""
    data_file, start, encoding = data_layout(path)
    try:
        found = sum(_lengths(data_file, start, encoding, limit=expected + _HEADER_LIMIT))
    except (EOFError, FileNotFoundError) as error:
        raise TruncatedError(
            "the voxel data end early", expected=f"{expected} bytes", path=data_file
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ChecksumError(
            f"damaged voxel data ({error})",
            expected="data that match their checksum",
            path=data_file,
        ) from error
    if found < expected:
        raise TruncatedError(
            f"{found} bytes of voxels",
            expected=f"{expected} bytes by the header",
            remedy="copy or download the file again",
            path=data_file,
        )
    if found > expected + _HEADER_LIMIT:
        raise SizeError(
            f"more than {found} bytes of voxels",
            expected=f"{expected} bytes by the header",
            path=path,
        )


def _lengths(path: Path, start: int, encoding: str, limit: int) -> Iterator[int]:
    with path.open("rb") as stream:
        stream.seek(start)
        if encoding == "raw":
            yield path.stat().st_size - start
            return
        inflate = zlib.decompressobj(wbits=47)  # zlib or gzip, by their headers
        total = 0
        while total <= limit and (chunk := stream.read(1 << 20)):
            while chunk and total <= limit:
                block = inflate.decompress(chunk, 1 << 22)
                total += len(block)
                yield len(block)
                chunk = inflate.unconsumed_tail
        if total <= limit and not inflate.eof:
            raise EOFError(path)


def header_text(path: Path) -> bytes:
    """Return the text of an NRRD file's header; nothing for other files."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER_LIMIT)
    return head[: _fields(head, b":", until=b"\n\n")[1]] if is_nrrd(head) else b""


def data_layout(path: Path) -> tuple[Path, int, str]:
    """Return file, first byte and encoding of the voxels: ``raw`` or ``gzip`` (any deflate)."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER_LIMIT)
    if is_nrrd(head):
        fields, start = _fields(head, b":", until=b"\n\n")
        encoding = fields.get("encoding", "raw").lower()
        name = fields.get("data file", fields.get("datafile", ""))
    else:
        fields, start = _fields(head, b"=", until=None)
        encoding = "gzip" if fields.get("compresseddata", "false").lower() == "true" else "raw"
        name = fields.get("elementdatafile", "LOCAL")
        if name.upper() == "LOCAL":
            name = ""
    encoding = {"gz": "gzip", "gzip": "gzip", "raw": "raw"}.get(encoding, encoding)
    if encoding not in ("raw", "gzip") or set("%\0") & set(name) or name.upper().startswith("LIST"):
        raise UnsupportedError(
            f"encoding {encoding!r}, data in {name or 'this file'!r}",
            expected="raw or gzip voxels in one file",
            path=path,
        )
    return (path.parent / name, 0, encoding) if name else (path, start, encoding)


def _fields(head: bytes, sign: bytes, until: bytes | None) -> tuple[dict[str, str], int]:
    """Return the header fields (lower-case names) and the offset of the first byte after it."""
    if until is not None:  # NRRD: a blank line ends the header
        ends = [at + len(mark) for mark in (until, b"\r\n\r\n") if (at := head.find(mark)) >= 0]
        end = min(ends) if ends else len(head)
    else:  # MetaImage: ElementDataFile is the last line
        at = head.find(b"ElementDataFile")
        end = head.find(b"\n", at) + 1 if at >= 0 else len(head)
    pairs = (line.split(sign, 1) for line in head[:end].splitlines() if sign in line)
    return {
        key.strip().decode("latin1").lower(): value.strip(b" =\r").decode("latin1")
        for key, value in pairs
    }, end
