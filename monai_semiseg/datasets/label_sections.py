"""Labels in the sections of a split, and labels that no training scan shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from monai_semiseg.datasets.label_values import background_of
from monai_semiseg.datasets.layout import files_text
from monai_semiseg.plain_text import counted

LABELLED = ("training", "validation", "test")


def scans_per_label(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return number -> label maps that have it; each map is given as number -> voxels."""
    seen = Counter[int]()
    for of_file in counts:
        seen.update(of_file.keys())
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
        part: scans_per_label(
            voxels.get(files_text(entry["label"]), {})
            for entry in datalist.get(part, [])
            if "label" in entry
        )
        for part in LABELLED
    }


def untrained_lines(
    scans: Mapping[str, Mapping[int, int]], names: Mapping[int, str]
) -> dict[int, str]:
    """Return number -> one line, for every label that occurs, but in no training scan.

    Args:
        scans: section -> number -> scans that show it.
        names: number -> name.
    """
    trained = scans.get("training", {})
    lines = {}
    for value in sorted(set().union(*scans.values())):
        if value == background_of(names) or value in trained or not trained:
            continue
        sections = [
            f"{part} ({counted(shown[value], 'cases')})"
            for part, shown in scans.items()
            if value in shown
        ]
        lines[value] = (
            f"label {value} ({names.get(value, f'label_{value}')}) occurs only in "
            f"{' and '.join(sections)}: no training case shows it, and it is scored as "
            "never trained"
        )
    return lines


def untrained_warnings(
    names: Mapping[int, str], shown: Mapping[int, int], noted: Mapping[str, Mapping[int, int]]
) -> list[str]:
    """Return one line for every label, declared or found, that no training scan shows.

    Args:
        names: number -> name of the labels of the network.
        shown: number -> training scans that show it.
        noted: section -> number -> scans that show it, as far as known.
    """
    if not shown:
        return []
    lines = untrained_lines({**noted, "training": shown}, names)
    for value in (value for value in names if value not in {*shown, *lines}):
        lines[value] = f"label {value} ({names[value]}): no training case shows it"
    return [lines[value] for value in sorted(lines)]


def known_label_scans(datalist: Mapping[str, Any]) -> dict[str, dict[int, int]]:
    """Return section -> number -> scans, as ``monai-semiseg split`` wrote it; or empty."""
    noted = datalist.get("label_scans", {})
    return {part: {int(v): int(n) for v, n in shown.items()} for part, shown in noted.items()}
