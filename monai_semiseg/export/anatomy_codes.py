"""SNOMED CT codes for the names that labels usually have, from DICOM's lists for segments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from monai_semiseg.datasets.label_values import foreground_of

# Context groups of DICOM PS3.16 and the category of what they list.
_GROUPS = {
    7192: "AnatomicalStructure",
    7191: "Tissue",
    7194: "MorphologicallyAbnormalStructure",
    7197: "BodySubstance",
}
# Names with several meanings (ventricles of heart and brain), or of nothing that an image shows.
_AMBIGUOUS = {"Ventricle", "Media", "Normal", "Background", "Phantom", "Tissue", "Organ"}
_SPELLINGS = {
    "tumor": "neoplasm",
    "tumour": "neoplasm",
    "oedema": "edema",
    "oesophagus": "esophagus",
    "haemorrhage": "hemorrhage",
    "grey": "gray",
    "vertebrae": "vertebra",
    "hippocampi": "hippocampus",
    "arteries": "artery",
    "ovaries": "ovary",
    "bronchi": "bronchus",
    "l": "left",
    "r": "right",
    "lh": "left",
    "rh": "right",
}
_ALIASES = {
    "urinary bladder": "bladder",
    "brainstem": "brain stem",
    "csf": "cerebrospinal fluid",
    "small bowel": "small intestine",
    "large bowel": "large intestine",
}
_SIDES = {"left": "Left", "right": "Right"}


@dataclass(frozen=True)
class StructureCode:
    """Name the structure of a segment, in pydicom's codes.

    Attributes:
        category: such as anatomical structure, or morphologically abnormal structure.
        kind: such as kidney.
        side: left or right, if the name says so and the kind does not.
    """

    category: Any
    kind: Any
    side: Any = None


@cache
def structure_code(name: str) -> StructureCode | None:
    """Return the coded term for a label's name, its words in any order; None if there is none."""
    from pydicom.sr.codedict import codes

    words = _words(name)
    if (found := _find(words)) is not None:
        return found
    sides = {word for word in words if word in _SIDES}
    found = _find(word for word in words if word not in _SIDES)
    if found is None or len(sides) != 1:
        return None
    side = getattr(codes.SCT, _SIDES[sides.pop()])
    return StructureCode(found.category, found.kind, side)


def without_code(names: Mapping[int, str], given: Mapping[int, Any]) -> list[str]:
    """Return the names of labels whose segments can only be called anatomical structures."""
    return [
        name
        for index, name in foreground_of(names).items()
        if index not in given and structure_code(name) is None
    ]


def _find(words: Iterable[str]) -> StructureCode | None:
    words = list(words)
    singular = [word.removesuffix("s") for word in words]
    known = _known()
    return known.get(_key(words)) or known.get(_key(singular))


@cache
def _known() -> dict[tuple[str, ...], StructureCode]:
    """Return every listed term by its words; a term of several groups belongs to the first."""
    from pydicom.sr.codedict import codes

    found: dict[tuple[str, ...], StructureCode] = {}
    for group, category in _GROUPS.items():
        listed = getattr(codes, f"cid{group}")
        for keyword in sorted(set(listed.dir()) - _AMBIGUOUS):
            kind = getattr(listed, keyword)
            code = StructureCode(getattr(codes.SCT, category), kind)
            found.setdefault(_key(_words(kind.meaning)), code)
            found.setdefault(_key(_words(keyword)), code)
    return found


def _words(name: str) -> list[str]:
    """Return a name's words in lower case, split at case changes, digits, underscores, spaces."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    name = " ".join(_SPELLINGS.get(part.lower(), part.lower()) for part in parts)
    words = _ALIASES.get(name, name).split()
    return [word for word in words if word not in ("of", "the", "and", "structure")]


def _key(words: Iterable[str]) -> tuple[str, ...]:
    """Return words in a fixed order: kidney left is left kidney."""
    return tuple(sorted(words))
