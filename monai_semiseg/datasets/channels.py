"""Patients and channels from file names, such as ``case_0000`` or ``case_FLAIR``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

File = TypeVar("File")
MAX_CHANNELS = 16  # numbers from 0000 up to this one are channels; with more, they are scans
_NUMBER = re.compile(r"(?P<stem>.+)_(?P<channel>\d{4})")  # as nnU-Net names channels
_SEPARATORS = re.compile(r"([ _.-]+)")
_CONTRAST = re.compile(
    r"t1(w|c|ce|gd|n|kw|km|post|pre|fs|map)?|t2(w|f|flair|star|s|fs|tse|map)?|flair|pd(w|fs)?|stir"
    r"|mprage|vibe|adc|dwi|dti|hbv|swi|dce|mra|tof|asl|bold|water|fat|(in|out|opp|opposed)phase"
    r"|magnitude|phase|cbf|cbv|mtt|tmax|ct|cta|ctp|cbct|ncct|cect|unenhanced|arterial|portal|venous"
    r"|portovenous|delayed|pet|suv|mri?",
    re.IGNORECASE,
)
# After a contrast: T1_post, T2_FLAIR, dwi_b1000.
_ADDITION = re.compile(
    rf"post|pre|gd|ce|contrast|km|fs|tse|space|map|b\d+|{_CONTRAST.pattern}", re.IGNORECASE
)


def split_number(name: str) -> tuple[str, str]:
    """Split ``case_0001`` into stem and nnU-Net's channel number, empty if there is none."""
    number = _NUMBER.fullmatch(name)
    return (number["stem"], number["channel"]) if number else (name, "")


def split_contrast(name: str) -> tuple[str, str]:
    """Split ``case_T1w`` or ``sub-01_T1w_brain`` into the patient's name and the contrast.

    A contrast may be in upper or lower case and at any position, between ``_``, ``-``, ``.`` or
    spaces.

    Returns:
        Stem and contrast; the contrast is empty if the name has none.
    """
    parts = _SEPARATORS.split(name)  # word, separator, word, ...
    words = parts[::2]
    first = next((n for n, word in enumerate(words) if _CONTRAST.fullmatch(word)), None)
    if first is None:
        return name, ""
    last = first + 1
    while last < len(words) and _ADDITION.fullmatch(words[last]):
        last += 1
    before = "".join(parts[: 2 * first])
    after = "".join(parts[2 * last :])
    between = parts[2 * last - 1] if before and after else ""
    return before.rstrip(" _.-") + between + after, "".join(parts[2 * first : 2 * last - 1])


def patient_of(name: str) -> str:
    """Return a scan's name (without suffix) without its only channel, as its label is named."""
    stem, number = split_number(name)
    if number:
        return stem if number == "0000" else name
    return split_contrast(name)[0]


def channel_groups(
    names: Iterable[str], labelled: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Find patients with several channels among the files of one folder.

    Args:
        names: file names without suffix.
        labelled: names of label maps without suffix. Numbered files that each have a label with
            their own name are scans (``scan_0000``, ``scan_0001``), not channels. Files whose names
            continue that of one label (``case_a``, ``case_b`` beside ``case``) are channels.

    Returns:
        Stem -> channel -> name, of patients with two channels or more. ``case_0000`` alone is a
        scan.
    """
    names = list(names)
    numbered = _grouped((*split_number(name), name) for name in names if name not in labelled)
    groups = {stem: channels for stem, channels in numbered.items() if _are_numbers(channels)}
    groups |= _beside_labels([name for name in names if name not in labelled], labelled, groups)
    taken: set[str] = set()
    for channels in groups.values():
        taken.update(channels.values())
    contrasts = _grouped((*split_contrast(name), name) for name in names if name not in taken)
    return groups | {stem: channels for stem, channels in contrasts.items() if len(channels) > 1}


def channel_sets(names: Iterable[str], labelled: Collection[str] = ()) -> dict[str, dict[str, str]]:
    """Group the files of one folder into cases by channel.

    Args:
        names: file names without suffix.
        labelled: as in :func:`channel_groups`. Contrasts that each have a label with their own name
            are scans of their own.

    Returns:
        Stem -> channel -> name, of every name. The channel is spelt as in the name. It is empty for
        a name that is a scan of its own; beside cases of several channels, ``case_0000`` and
        ``case_T1`` alone are cases that lack the others.
    """
    names = list(names)
    groups = channel_groups(names, labelled)
    groups = {stem: of for stem, of in groups.items() if not labelled_one_by_one(of, labelled)}
    found: dict[str, dict[str, str]] = {}
    for stem, members in groups.items():
        found[stem] = {_spelling(stem, name): name for name in members.values()}
    taken = {name for members in groups.values() for name in members.values()}
    spelt = {channel.casefold() for members in found.values() for channel in members}
    for name in names:
        if name not in taken:
            stem, channel = _alone(name, spelt, labelled)
            add_file(found.setdefault(stem, {}), channel, name, name)
    return found


def add_file(channels: dict[str, File], channel: str, file: File, name: str) -> None:
    """Add a file to the channels of a case; the second one of a channel is a channel of its own.

    So it is not lost: a case with a channel that the others lack is left out by name.

    Args:
        channels: channel -> file.
        channel: of the new file, in any spelling.
        file: the new file.
        name: of the file, which is its channel's if another one is there.
    """
    known = {spelt.casefold() for spelt in channels}
    channels[name if channel.casefold() in known else channel] = file


def labelled_one_by_one(channels: Mapping[str, str], labelled: Collection[str]) -> bool:
    """Return True if every file of a group has a label with its own name."""
    return all(name in labelled for name in channels.values())


def _spelling(stem: str, name: str) -> str:
    """Return the channel of a file of a group, as it is spelt."""
    for split in (split_number, split_contrast):
        of, channel = split(name)
        if of == stem and channel:
            return channel
    return name[len(stem) :].strip(" _.-") if name.startswith(stem) else name


def _alone(name: str, known: Collection[str], labelled: Collection[str]) -> tuple[str, str]:
    """Return stem and channel of a file without others of its case."""
    if name not in labelled:
        for split in (split_number, split_contrast):
            stem, channel = split(name)
            if channel.casefold() in known and channel:
                return stem, channel
    return name, ""


def _beside_labels(
    names: Iterable[str], labelled: Collection[str], known: Collection[str]
) -> dict[str, dict[str, str]]:
    """Files that go on behind the name of a label without a file of its own, two or more."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        ends = (match.start() for match in _SEPARATORS.finditer(name))
        stems = [stem for end in ends if (stem := name[:end]) in labelled and stem not in known]
        if stems:
            found[stems[-1]][name[len(stems[-1]) :].strip(" _.-").lower()] = name
    return {stem: channels for stem, channels in found.items() if len(channels) > 1}


def _grouped(rows: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for stem, channel, name in rows:
        found[stem].setdefault(channel.lower(), name)
    return found


def _are_numbers(channels: Collection[str]) -> bool:
    numbers = [int(channel) for channel in channels if channel]
    return len(numbers) > 1 and 0 in numbers and max(numbers) < MAX_CHANNELS


def channel_fault(stem: str, channels: Collection[str]) -> str:
    """Return the message for a file that is one of several channels."""
    names = ", ".join(sorted(channel or "no channel name" for channel in channels))
    return f"one of {len(channels)} channels of {stem or 'this folder'} ({names})"
