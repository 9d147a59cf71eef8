"""What kind of scans a dataset holds: told by user, dataset or DICOM, or guessed by the values."""

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


@dataclass(frozen=True)
class ScanKind:
    """What one scan says of its modality.

    Attributes:
        dicom: code of its DICOM files, empty for other formats.
        hounsfield: whether its values look like CT in Hounsfield units.
    """

    dicom: str
    hounsfield: bool


def decide_modality(
    declared: str, scans: Sequence[ScanKind], asked: str | None = None
) -> tuple[str, str]:
    """Return the modality, and where that is known from, in one line.

    Args:
        declared: what the dataset says, or empty.
        scans: what its scans say.
        asked: what the user says, or None; goes before all else.

    Returns:
        DICOM's code where it is clear, else the dataset's own words or nothing; a line for the
        user.
    """
    alike = sum(scan.hounsfield for scan in scans)
    doubt = f"; {alike} of {len(scans)} scans have values like CT's" if alike else ""
    if asked is not None:
        return asked, f"modality: {asked}, asked for"
    if declared.strip():
        name = dicom_modality(declared) or " ".join(declared.split())
        other = doubt if name != "CT" else ""
        return name, f"modality: {name}, the dataset says so{other}"
    found = sorted({scan.dicom for scan in scans if scan.dicom})
    if len(found) == 1:
        other = doubt if found != ["CT"] else ""
        return found[0], f"modality: {found[0]}, the DICOM files say so{other}"
    if not found and scans and alike == len(scans):
        return "CT", "modality: CT, a guess by the values (air near -1000); --modality sets another"
    mixed = f"; DICOM files say {', '.join(found)}" if found else ""
    why = "nothing says, and every scan is scaled by itself; for CT say --modality CT"
    return "", f"modality: unknown, {why}{mixed}{doubt}"


def dicom_modality(name: str) -> str | None:
    """Return DICOM's code for what a dataset calls its modality; None if that is not clear."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {MODALITIES[word] for word in words if word in MODALITIES}
    return found.pop() if len(found) == 1 else None


def looks_like_hounsfield(values: NDArray[Any]) -> bool:
    """Return whether voxels look like CT in Hounsfield units.

    Whole numbers, with a hundredth of them at least near air (-1000) and near soft tissue (-200 to
    300) each, nothing beyond what scanners store (-3100 to 32767), and hardly anything below air
    but the one value that pads what the scanner does not see. CT that is stored with an offset (0
    to 4095) does not: its air cannot be told from the background of MR.
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
