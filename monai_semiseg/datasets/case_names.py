"""Unique names of cases, from their paths below the inputs, and safe as file names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from monai_semiseg.images.formats import ARCHIVE_SUFFIX, DICOM_SUFFIXES, SCAN_SUFFIXES
from monai_semiseg.plain_text import printable

# The longest first, so that all of .nii.gz goes; .img holds the voxels of a .hdr.
_IMAGE_SUFFIXES = sorted((*SCAN_SUFFIXES, *DICOM_SUFFIXES, ".img"), key=len, reverse=True)


def without_suffix(file: Path) -> Path:
    """Return the file without its scan suffix.

    Other dots in the name stay: ``1.2.840.1.45`` is a name, not a suffix.
    """
    lower = file.name.lower()
    known = (*_IMAGE_SUFFIXES, ARCHIVE_SUFFIX)
    suffix = next((s for s in known if lower.endswith(s) and len(lower) > len(s)), "")
    return file.with_name(file.name[: len(file.name) - len(suffix)])


def stem_of(file: str | Path) -> str:
    """Return a file's name without folder and scan suffix."""
    return without_suffix(Path(file)).name


def has_image_suffix(name: str) -> bool:
    """Return True if a file name has the suffix of a scan or a picture."""
    return name.lower().endswith(tuple(_IMAGE_SUFFIXES))


class CaseNames:
    """Unique case ids that mirror the input tree.

    Args:
        many_roots: True if the user named several inputs; ids then begin with the folder's name.
    """

    def __init__(self, *, many_roots: bool) -> None:
        self.many_roots = many_roots
        self._taken: set[str] = set()

    def new_id(self, root: Path, name: Path) -> str:
        """Return a new id for a case.

        Args:
            root: input that the user named; its spelling has no effect on the id.
            name: path that names the case, below ``root``.
        """
        parent = root.parent if root.is_file() else root
        relative = name.relative_to(parent)
        title = root.resolve().name
        parts = list(relative.parts) or [title]
        if self.many_roots and not root.is_file() and relative.parts:
            parts = [title, *parts]
        return new_name(_safe("/".join(parts)), self._taken)


def new_name(stem: str, taken: set[str]) -> str:
    """Return a name that differs from those that are taken in more than the case of its letters.

    Args:
        stem: the name, which gets a number if it is taken.
        taken: names in lower case; the new one is added.
    """
    name = stem
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name.lower())
    return name


def file_names(ids: Iterable[str]) -> dict[str, str]:
    """Return id -> a name that is a file name, and unique whatever the case of its letters."""
    taken: set[str] = set()
    stems = {one: re.sub(r"[^\w.+-]+", "_", one).strip(".") or "case" for one in ids}
    return {one: new_name(stem, taken) for one, stem in stems.items()}


def _safe(text: str) -> str:
    """Replace characters that file names of some systems must not have."""
    shown = printable(re.sub(r"[\x00-\x1f]", "_", text))
    return re.sub(r'[:*?"<>|\\]', "_", shown)
