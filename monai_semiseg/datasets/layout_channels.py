"""Channels of a layout's cases: their names, their order, and the cases that do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from monai_semiseg.datasets.layout import (
    Files,
    Layout,
    ListedCase,
    Wanted,
    files_of,
    one_or_several,
)


def channel_names(layout: Layout, wanted: Wanted) -> tuple[str, ...]:
    """Return the names of the channels, in order; empty if the only one has none.

    If nobody declares them, they are those that at least half of the cases have, by name.
    """
    if wanted.channels:
        return tuple(wanted.channels)
    if layout.channel_names:
        return layout.channel_names
    spelt: dict[str, str] = {}
    counts = Counter[str]()
    for case in layout.cases:
        for name in case.images:
            spelt.setdefault(name.casefold(), name)
        counts.update({name.casefold() for name in case.images})
    common = [name for name, count in counts.items() if 2 * count >= len(layout.cases)]
    if "" in common and len(common) > 1:  # as many scans of one channel as of several
        common = [name for name in common if name]
    return tuple(spelt[name] for name in sorted(common) if name)


def in_order(case: ListedCase, names: Sequence[str]) -> Files:
    """Return a case's files in the order of the channels, as far as it has them."""
    if len(case.images) == 1:
        (only,) = case.images
        if not only or not names:
            return case.images[only]
    by_name = {name.casefold(): files for name, files in case.images.items()}
    found = [by_name[name.casefold()] for name in names if name.casefold() in by_name]
    return one_or_several([file for files in found for file in files_of(files)])


def channel_misfit(case: ListedCase, names: Sequence[str], wanted: Wanted, one_file: bool) -> str:
    """Describe channels that a case lacks, or has beside the others'; empty if there are none.

    Args:
        case: the case.
        names: channels of the data set.
        wanted: what the user says; channels that are not wanted are passed over.
        one_file: True if every case is one file, which holds all channels.
    """
    had = {name.casefold(): name for name in case.images}
    if list(had) == [""] and (len(names) < 2 or one_file):
        return ""
    lacking = [name for name in names if name.casefold() not in had]
    known = {name.casefold() for name in names}
    further = [had[name] or "no channel name" for name in sorted(had) if name not in known]
    if not lacking and (not further or wanted.channels):
        return ""
    spelt = ", ".join(sorted(name or "no channel name" for name in had.values()))
    count = f"{len(had)} channels" if len(had) > 1 else "one channel"
    change = f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(further)}"
    theirs = ", ".join(names) or "one channel without a name"
    return f"{change}: {count} of {case.id} ({spelt}), the data set has {theirs}"
