"""File names -> patients and channels: ``case_0000``, ``case_FLAIR`` and ``case_T1`` are one patient's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

MAX_CHANNELS = 16  # numbers from 0000 on up to here are channels, more of them are scans
_NUMBER = re.compile(r"(?P<stem>.+)_(?P<channel>\d{4})")  # as nnU-Net names channels
_SEPARATORS = re.compile(r"([ _.-]+)")
_CONTRAST = re.compile(
    r"t1(w|c|ce|gd|n|kw|km|post|pre)?|t2(w|f|flair|star|s)?|flair|pdw?|adc|dwi|swi|dce|mra|asl|bold"
    r"|cbf|cbv|mtt|tmax|ct|cta|ctp|cbct|pet|suv|mri?",
    re.IGNORECASE,
)
_ADDITION = re.compile(r"post|pre|gd|ce|contrast|km", re.IGNORECASE)  # after a contrast: T1_post


def split_channel(name: str) -> tuple[str, str]:
    """Part a file name (without suffix) into what names the patient, and the channel.

    The channel is nnU-Net's number (``case_0001``) or a contrast word, wherever it stands
    (``sub-01_T1w_brain``), in any case, parted by ``_``, ``-``, ``.`` or space.

    Returns:
        Stem and channel; the channel is empty if the name has none.
    """
    if number := _NUMBER.fullmatch(name):
        return number["stem"], number["channel"]
    parts = _SEPARATORS.split(name)  # word, separator, word, ...
    words = parts[::2]
    first = next((n for n, word in enumerate(words) if _CONTRAST.fullmatch(word)), None)
    if first is None:
        return name, ""
    last = first + 1
    while last < len(words) and _ADDITION.fullmatch(words[last]):
        last += 1
    before, after = "".join(parts[: 2 * first]), "".join(parts[2 * last :])
    stem = before.rstrip(" _.-") + (parts[2 * last - 1] if before and after else "") + after
    return stem, "".join(parts[2 * first : 2 * last - 1])


def channel_groups(
    names: Iterable[str], labelled: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Find patients with several channels among the files of one folder.

    Args:
        names: file names without suffix.
        labelled: names of label maps without suffix. Numbered files that each have a label of
            their own name are scans (``scan_0000``, ``scan_0001``), not channels.

    Returns:
        Stem -> channel -> name, of patients with two channels or more. ``case_0000`` alone is a
        plain scan.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        stem, channel = split_channel(name)
        if not (channel.isdigit() and name in labelled):
            found[stem].setdefault(channel.lower(), name)
    return {stem: channels for stem, channels in found.items() if _are_channels(channels)}


def channel_fault(stem: str, channels: Collection[str]) -> str:
    """Say that a file is one of several channels, which are not read yet."""
    names = ", ".join(sorted(channel or "no channel name" for channel in channels))
    return f"one of {len(channels)} channels of {stem or 'this folder'} ({names})"


def _are_channels(channels: Collection[str]) -> bool:
    numbers = [int(channel) for channel in channels if channel.isdigit()]
    if numbers:
        return len(numbers) > 1 and 0 in numbers and max(numbers) < MAX_CHANNELS
    return len(channels) > 1
