"""What every layout of a data set returns: cases with their files by channel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from monai_semiseg.datasets.case_names import stem_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import printable

LABEL_ALONE = "a label without an image"  # a problem of a layout

# One file, or several: the slices of a DICOM series, or masks that are merged.
Files: TypeAlias = str | tuple[str, ...]


@dataclass(frozen=True)
class ListedCase:
    """A case as its layout lists it, before the channels of the data set are known.

    Attributes:
        id: name of the case.
        images: channel -> files; the name is empty for a file that no channel is named for.
        label: label files, or None.
        group: patient, or empty.
    """

    id: str
    images: Mapping[str, Files]
    label: Files | None = None
    group: str = ""


@dataclass
class Layout:
    """The content of a data set's folder.

    Attributes:
        cases: cases, in any order.
        problems: case or file -> problem.
        name: name of the data set, or empty.
        modality: ``MRI``, ``CT``, ..., or empty.
        labels: number -> name, or empty.
        channel_names: declared names of the channels, in order; or empty.
        sides: whether left and right are different classes, or None.
        colours: label -> ``#rrggbb``, or empty.
    """

    cases: list[ListedCase] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    name: str = ""
    modality: str = ""
    labels: dict[int, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    sides: bool | None = None
    colours: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Hold what the user says about a data set.

    Attributes:
        channels: name of each channel, in order -> pattern of its series' description, for DICOM;
            empty if there is none.
        label: name of the label files or of their folder, or empty.
        group: expression whose first group, searched in the id, is the patient; or None.
    """

    channels: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    group: re.Pattern[str] | None = None

    def group_of(self, case_id: str) -> str:
        """Return the patient that the expression finds in an id; empty if there is none."""
        found = self.group.search(case_id) if self.group is not None else None
        return (found[1] or "") if found else ""


def read_wanted(
    channels: str | Sequence[str] | Mapping[str, str] | None,
    label: str | None,
    group: str | None,
) -> Wanted:
    """Read the options of the command line or of a call.

    Args:
        channels: ``FLAIR,T1``, a list of names, or ``T1=PATTERN`` for series of DICOM files.
        label: name of the label files.
        group: regular expression with one group.

    Raises:
        ConfigError: If a channel is named twice or has no name, or the expression is invalid.
    """
    parts = channels.split(",") if isinstance(channels, str) else channels or ()
    if isinstance(parts, Mapping):
        pairs = [(name, pattern) for name, pattern in parts.items()]
    else:
        pairs = [(part.partition("=")[0], part.partition("=")[2]) for part in parts]
    named = {name.strip(): pattern.strip() for name, pattern in pairs}
    if len({name.casefold() for name in named}) != len(pairs) or "" in named:
        raise ConfigError(
            f"--channels {channels}", expected="different names: FLAIR,T1 or T1=PATTERN,T2=PATTERN"
        )
    for pattern in named.values():
        _expression(pattern, "channels")
    expression = _expression(group, "group") if group else None
    if expression is not None and not expression.groups:
        raise ConfigError(
            f"--group {group!r} has no group in parentheses",
            expected="an expression whose first group is the patient",
            remedy=r"for patient1_a and patient1_b: --group '(patient\d+)_'",
        )
    return Wanted(named, label or "", expression)


def _expression(text: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE if option == "channels" else 0)
    except re.error as error:
        raise ConfigError(
            f"--{option} {text!r}: {error}", expected="a regular expression"
        ) from error


def case_stem(name: str) -> str:
    """Return a file name without its scan suffix (``a.nii.gz`` -> ``a``), printable."""
    return printable(stem_of(name))


def files_of(files: Files | Sequence[str]) -> tuple[str, ...]:
    """Return files as a tuple."""
    return (files,) if isinstance(files, str) else tuple(files)


def one_or_several(names: Sequence[str]) -> Files:
    """Return the only file, or several as a tuple."""
    return names[0] if len(names) == 1 else tuple(names)


def files_text(files: Files | Sequence[str]) -> str:
    """Return the files of an image or label as one text, as a key and for messages."""
    return ", ".join(files_of(files))


def entries_of(folder: Path) -> list[Path]:
    """Return the visible files and folders of a folder, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
