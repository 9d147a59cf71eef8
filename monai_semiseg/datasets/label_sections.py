"""Which labels the scans of a split show, and which of them no training scan does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

LABELLED = ("training", "validation", "test")


def scans_showing(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return number -> how many of the label maps hold it; each is given as number -> voxels."""
    seen = Counter(value for of_file in counts for value in of_file)
    return {value: seen[value] for value in sorted(seen)}


def section_scans(
    datalist: Mapping[str, Any], voxels: Mapping[str, Mapping[int, int]]
) -> dict[str, dict[int, int]]:
    """Return section -> number -> labelled scans of a split that show it.

    Args:
        datalist: the split.
        voxels: label file -> number -> voxels; files that are not there show nothing.
    """
    return {
        part: scans_showing(
            voxels.get(entry["label"], {}) for entry in datalist.get(part, []) if "label" in entry
        )
        for part in LABELLED
    }


def untrained_lines(
    scans: Mapping[str, Mapping[int, int]], names: Mapping[int, str]
) -> dict[int, str]:
    """Say of every label that occurs, but in no training scan, where it does; number -> one line.

    Args:
        scans: section -> number -> scans that show it.
        names: number -> name.
    """
    trained = scans.get("training", {})
    lines = {}
    for value in sorted({value for shown in scans.values() for value in shown}):
        if value == 0 or value in trained or not trained:
            continue
        where = [
            f"{part} ({shown[value]} scans)" for part, shown in scans.items() if value in shown
        ]
        lines[value] = (
            f"label {value} ({names.get(value, f'label_{value}')}) occurs only in "
            f"{' and '.join(where)}: no training scan shows it, and it is scored as never trained"
        )
    return lines


def unlearnt_lines(
    names: Mapping[int, str], shown: Mapping[int, int], noted: Mapping[str, Mapping[int, int]]
) -> list[str]:
    """Say of every label that no training scan teaches it: of those that are declared, and those that others show.

    Args:
        names: number -> name of the labels that the network gets.
        shown: number -> training scans that show it.
        noted: what is known of all sections, as :func:`untrained_lines` takes it.
    """
    if not shown:
        return []
    lines = untrained_lines({**noted, "training": shown}, names)
    for value in (value for value in names if value not in {*shown, *lines}):
        lines[value] = f"label {value} ({names[value]}): no training scan shows it"
    return [lines[value] for value in sorted(lines)]


def known_label_scans(datalist: Mapping[str, Any]) -> dict[str, dict[int, int]]:
    """Return what ``monai-semiseg split`` noted of the labels in a datalist; empty if it did not."""
    noted = datalist.get("label_scans", {})
    return {part: {int(v): int(n) for v, n in shown.items()} for part, shown in noted.items()}
