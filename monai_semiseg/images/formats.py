"""Detection of file formats by content, and listing of the files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from monai_semiseg.errors import InputError
from monai_semiseg.images.archive import is_zip
from monai_semiseg.images.dicom_header import looks_like_dicom
from monai_semiseg.images.gzipped import GZIP_MAGIC
from monai_semiseg.images.itk_data import is_meta_image, is_nrrd
from monai_semiseg.images.nifti_header import nifti_head, nifti_version

Kind = Literal["nifti", "itk", "mgh", "picture", "dicom", "zip", ""]
SCAN_SUFFIXES: dict[str, Kind] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "itk",
    ".nhdr": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".hdr": "nifti",
    ".mgz": "mgh",
    ".mgh": "mgh",
    ".mgh.gz": "mgh",
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".bmp": "picture",
    ".tif": "picture",
    ".tiff": "picture",
}
DICOM_SUFFIXES = (".dcm", ".ima")
ARCHIVE_SUFFIX = ".zip"


_PICTURES = (  # first bytes, kind
    (b"\x89PNG\r\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
)
_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)}
_PICTURE_BYTES = 18


_OTHERS = {  # formats of 3-D scans that are not read
    ".mnc": "a MINC volume",
    ".nii.zst": "a NIfTI file under Zstandard",
    ".nii.bz2": "a NIfTI file under bzip2",
    ".nii.xz": "a NIfTI file under xz",
}


def picture_kind(path: Path) -> str:
    """Return the format of a 2-D picture (``PNG``, ``JPEG``, ...) by its first bytes, or empty."""
    with path.open("rb") as stream:
        return _picture_of(stream.read(_PICTURE_BYTES))


def _picture_of(head: bytes) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:  # two letters alone are too few
        return "BMP"
    return next((kind for magic, kind in _PICTURES if head.startswith(magic)), "")


def other_format(path: Path) -> str:
    """Return the format, not read here, that a file's suffix names; empty if there is none."""
    lower = path.name.lower()
    return next((name for suffix, name in _OTHERS.items() if lower.endswith(suffix)), "")


def may_be_scan(name: str) -> bool:
    """Return True if a file name has the suffix of a scan, or none, as DICOM files often have."""
    lower = name.lower()
    return lower.endswith((*SCAN_SUFFIXES, *DICOM_SUFFIXES, ARCHIVE_SUFFIX)) or "." not in lower


def broken_link(path: Path) -> str:
    """Describe a symbolic link whose target does not exist; empty for everything else."""
    if path.is_symlink() and not path.exists():
        return f"a broken link to {path.readlink()}"
    return ""


def detect_format(path: Path) -> Kind:
    """Detect a file's format by its first bytes; empty if it is not a known one.

    If the content has no known format, the suffix decides: a file with the suffix of a scan is a
    case that fails with a reason, and is not skipped.
    """
    with path.open("rb") as stream:
        head = stream.read(2048)
    if looks_like_dicom(head):
        return "dicom"
    if is_zip(head):
        return "zip"
    if nifti_version(head) or (head.startswith(GZIP_MAGIC) and nifti_version(_unzipped_head(path))):
        return "nifti"
    if is_nrrd(head) or is_meta_image(head):
        return "itk"
    if _picture_of(head):
        return "picture"
    return next(
        (kind for suffix, kind in SCAN_SUFFIXES.items() if path.name.lower().endswith(suffix)), ""
    )


def _unzipped_head(path: Path) -> bytes:
    try:
        return nifti_head(path)
    except (OSError, InputError):
        return b""


def files_under(root: Path) -> Iterator[Path]:
    """Yield all files below ``root`` in sorted order, or the file itself.

    Links to folders are followed once each. A folder that cannot be listed is yielded itself, so
    that the caller can report it.
    """
    if root.is_file():
        yield root
        return
    seen: set[tuple[int, int]] = set()
    unreadable: list[OSError] = []
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=unreadable.append):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))
    yield from (Path(error.filename) for error in unreadable)
