"""Files that were found, grouped into cases by the channels that a network wants."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from monai_semiseg.datasets.cases import Case, Row, Skipped
from monai_semiseg.datasets.channels import split_contrast, split_number
from monai_semiseg.errors import InputError, UnsupportedError
from monai_semiseg.images.volume import RGB

FILE_KINDS = ("nifti", "itk", "mgh", "picture")  # one file is one case, or a channel of one
_SEPARATOR = r"[ _.-]+"

# Folder and beginning of the name, which the channels of a case share.
_Key = tuple[Path, str]


def grouped_by_channel(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Join the files of each case; a case that lacks a channel fails by name.

    Files that are named after no channel stay cases, which may hold all channels in one file. Such
    files of a case that has channels (another contrast, beside them) are skipped.

    Args:
        rows: what was found.
        names: channels of the network, two or more, in their order.
    """
    if {name.casefold() for name in names} == set(RGB):
        return list(rows)  # channels of one file
    groups: dict[_Key, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if found := _channel_of(row, names):
            groups[found[0]][found[1]].append(row)
    groups = {key: members for key, members in groups.items() if not _may_hold_all(members)}
    first_of = {id(row): key for key, members in groups.items() for row in _flat(members)}
    others: dict[Path, list[str]] = defaultdict(list)
    for row in rows:
        if isinstance(row[2], Case) and id(row) not in first_of:
            others[row[1].parent].append(row[2].source.name)
    grouped: list[Row] = []
    done: set[_Key] = set()
    for row in rows:
        key = first_of.get(id(row))
        if key is None:
            grouped.append(_skipped_beside(row, groups, names))
        elif key not in done:
            done.add(key)
            grouped.append(_joined(key, groups[key], names, others))
    return grouped


def _beside(key: _Key, others: Mapping[Path, Sequence[str]]) -> list[str]:
    """Return the first few images that belong to a case by folder and name, and are no channel."""
    folder, stem = key
    return list(islice((name for name in others.get(folder, ()) if name.startswith(stem)), 4))


def _flat(members: Mapping[int, Sequence[Row]]) -> list[Row]:
    return [row for number in sorted(members) for row in members[number]]


def _channel_of(row: Row, names: Sequence[str]) -> tuple[_Key, int] | None:
    """Return the case and the channel that the name of a found image says; None if it says none."""
    _, name, found = row
    if not isinstance(found, Case) or found.fault or found.kind not in (*FILE_KINDS, "dicom"):
        return None
    told = channel_of_name(name.name, names)
    return None if told is None else ((name.parent, told[0]), told[1])


def channel_of_name(name: str, names: Sequence[str]) -> tuple[str, int] | None:
    """Return the case and the channel that a file's name says; None if it says no channel.

    Args:
        name: of the file, without folder and suffix: ``p_FLAIR``, ``FLAIR-p``, ``FLAIR``,
            ``p_0000``.
        names: channels of the network, in their order.
    """
    stem, number = split_number(name)
    if number and int(number) < len(names):
        return stem, int(number)
    for channel in sorted(names, key=len, reverse=True):
        word = re.escape(channel)
        for pattern in (
            rf"(?:(?P<stem>.+?){_SEPARATOR})?{word}",
            rf"{word}{_SEPARATOR}(?P<stem>.+)",
        ):
            if match := re.fullmatch(pattern, name, re.IGNORECASE):
                return match["stem"] or "", list(names).index(channel)
    return None


def _may_hold_all(members: Mapping[int, Sequence[Row]]) -> bool:
    """Return True if a case is the one file ``case_0000``: nnU-Net's name of a picture, too."""
    rows = _flat(members)
    return list(members) == [0] and len(rows) == 1 and bool(split_number(rows[0][1].name)[1])


def _joined(
    key: _Key,
    members: Mapping[int, Sequence[Row]],
    names: Sequence[str],
    others: Mapping[Path, Sequence[str]],
) -> Row:
    """Return the row of a case with the files of its channels."""
    folder, stem = key
    rows = _flat(members)
    root, _, first = rows[0]
    cases = [row for _, _, row in rows if isinstance(row, Case)]
    files = tuple(file for case in cases for file in case.files)
    source = first.source if stem else first.source.parent
    case = replace(
        cases[0],
        files=files,
        source=source,
        fault=_fault(members, names, source, partial(_beside, key, others)),
        channel_names=tuple(names),
    )
    # A case by the name of its folder lies below the input that holds it.
    name = folder / stem if stem else folder
    return (root if root.is_dir() or stem else root.parent), name, case


def _fault(
    members: Mapping[int, Sequence[Row]],
    names: Sequence[str],
    path: Path,
    beside: Callable[[], Sequence[str]],
) -> InputError | None:
    lacking = [name for number, name in enumerate(names) if number not in members]
    double = [names[number] for number, rows in members.items() if len(rows) > 1]
    if not lacking and not double:
        return None
    had = ", ".join(row.source.name for _, _, row in _flat(members))
    lack = f"no file for channel {', '.join(lacking)}" if lacking else ""
    if lacking and (unknown := beside()):
        had += f"; unknown: {', '.join(unknown)}"
    several = f"several files for channel {', '.join(double)}" if double else ""
    return UnsupportedError(
        f"{' and '.join(text for text in (lack, several) if text)} (found {had})",
        expected=f"one file for each channel of the network: {', '.join(names)}",
        remedy="give all files of the case, or its folder, with the names CASE_CHANNEL or "
        "CASE/CHANNEL",
        path=path,
    )


def _skipped_beside(row: Row, groups: Mapping[_Key, object], names: Sequence[str]) -> Row:
    """Skip a contrast that the network does not use, beside those of its case."""
    root, name, found = row
    if not isinstance(found, Case) or found.kind not in FILE_KINDS or found.source == root:
        return row
    stem, contrast = split_contrast(name.name)
    if (name.parent, "") in groups or (contrast and (name.parent, stem) in groups):
        reason = f"none of the network's channels {', '.join(names)}"
        return root, name, Skipped(found.source, reason)
    return row
