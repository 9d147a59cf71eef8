"""Modality of a dataset, from user, dataset or DICOM headers, or guessed from the values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Words that datasets use, and DICOM's codes for them.
MODALITIES = {
    "mr": "MR",
    "mri": "MR",
    "magnetic": "MR",
    "ct": "CT",
    "computed": "CT",
    "pt": "PT",
    "pet": "PT",
    "us": "US",
    "ultrasound": "US",
    "nm": "NM",
    "spect": "NM",
    "xa": "XA",
    "cr": "CR",
    "dx": "DX",
    "mg": "MG",
    "oct": "OPT",
}
# Contrasts that no other modality has.
_MR_CONTRAST = re.compile(
    r"(?<![a-z0-9])(t[12][a-z]*|[a-z]*flair|pdw|stir|mprage|adc|dwi|dti|swi)(?![a-z0-9])"
)


@dataclass(frozen=True)
class ScanKind:
    """Information about the modality of one scan.

    Attributes:
        dicom: modality of its DICOM files, or empty.
        hounsfield: whether its values look like CT in Hounsfield units.
    """

    dicom: str
    hounsfield: bool


def decide_modality(
    declared: str,
    scans: Sequence[ScanKind],
    asked: str | None = None,
    channels: Sequence[str] = (),
) -> tuple[str, str]:
    """Return the modality, and one line that says where it comes from.

    Args:
        declared: modality of the dataset, or empty.
        scans: information from its scans.
        asked: modality that the user asked for, or None; it has precedence.
        channels: names of the channels.

    Returns:
        DICOM's code if it is clear, else the dataset's own words, or empty; and a line for the
        user.
    """
    like_ct = sum(scan.hounsfield for scan in scans)
    hint = f"; {like_ct} of {len(scans)} scans have values like CT's" if like_ct else ""
    if asked is not None:
        return asked, f"modality: {asked}, asked for"
    if declared.strip():
        name = dicom_modality(declared) or " ".join(declared.split())
        other = hint if name != "CT" else ""
        return name, f"modality: {name}, the dataset says so{other}"
    found = sorted({scan.dicom for scan in scans if scan.dicom})
    if len(found) == 1:
        other = hint if found != ["CT"] else ""
        return found[0], f"modality: {found[0]}, the DICOM files say so{other}"
    if not found and (named := dicom_modality(", ".join(channels))):
        other = hint if named != "CT" else ""
        return named, f"modality: {named}, the names of the channels say so{other}"
    if not found and scans and like_ct == len(scans):
        return "CT", "modality: CT, a guess by the values (air near -1000); --modality sets another"
    mixed = f"; DICOM files say {', '.join(found)}" if found else ""
    why = "nothing says, and every scan is scaled by itself; for CT say --modality CT"
    return "", f"modality: unknown, {why}{mixed}{hint}"


def dicom_modality(name: str) -> str | None:
    """Return DICOM's code for a name of a modality, channel or MR contrast; None if unclear."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {MODALITIES[word] for word in words if word in MODALITIES}
    if _MR_CONTRAST.search(name.lower()):
        found.add("MR")
    return found.pop() if len(found) == 1 else None


def looks_like_hounsfield(values: NDArray[Any]) -> bool:
    """Return True if voxels look like CT in Hounsfield units.

    They are whole numbers within the range of scanners (-3100 to 32767). At least 1 % of them are
    near air (-1000) and 1 % near soft tissue (-200 to 300). Almost none are below air, except for
    the padding value outside the field of view. CT that is stored with an offset (0 to 4095) is not
    detected: its air cannot be distinguished from the background of MR.
    """
    sample = values[tuple(slice(None, None, max(1, n // 96)) for n in values.shape)]
    low, high = float(sample.min()), float(sample.max())
    if low > -900 or low < -3100 or high > 32767:
        return False
    whole = sample.dtype.kind in "iu" or bool(np.all(sample == np.rint(sample)))
    air = np.mean((sample <= -900) & (sample >= -1100) | (sample == low))
    tissue = np.mean((sample >= -200) & (sample <= 300))
    below = np.mean((sample < -1100) & (sample != low))
    return whole and min(air, tissue) >= 0.01 and below <= 0.001
