"""Files that are no image at all: what a failed download or copy leaves under an image's name."""

from __future__ import annotations

from pathlib import Path

from monai_semiseg.errors import FormatError

_HEAD = 1024


def content_of(head: bytes) -> str:
    """Name what a file holds that is no image, by its first bytes; empty if that is unknown."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "an empty file"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: the scan itself was not downloaded"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"<?xml"):
        return "an XML file"
    if head.startswith(b"%PDF"):
        return "a PDF file"
    return ""


def require_image(path: Path, kind: str) -> None:
    """Refuse the rest of a failed download by what it is.

    Args:
        path: the file.
        kind: what the file should be, for the error.

    Raises:
        FormatError: If the file's first bytes are those of another kind of content.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if content := content_of(head):
        raise FormatError(
            content, expected=kind, remedy="copy or download the file again", path=path
        )
