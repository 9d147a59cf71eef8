"""Labels in the sections of a split, and labels that no training scan shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.label_checks import count_values, whole_labels
from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import collect_warnings

LABELLED = ("training", "validation", "test")


def scans_per_label(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return number -> label maps that have it; each map is given as number -> voxels."""
    seen = Counter[int]()
    for of_file in counts:
        seen.update(of_file.keys())
    return {value: seen[value] for value in sorted(seen)}


def read_label_scans(
    dataset: ScanDataset, datalist: Mapping[str, Any], *, workers: int = 4, progress: bool = True
) -> tuple[dict[str, dict[int, int]], dict[str, str]]:
    """Read the labels of a split.

    Returns:
        Section -> number -> scans that show it; and label file -> reason why it cannot be read.
    """
    names: list[tuple[str, str]] = []
    for part in LABELLED:
        names += [(part, entry["label"]) for entry in datalist[part] if "label" in entry]
    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda pair: _counts_in(dataset.root / pair[1]), names)
        bar = tqdm(
            jobs, "Reading labels", len(names), disable=None if progress else True, unit="scan"
        )
        results = list(bar)
    counts: dict[str, list[dict[int, int]]] = {part: [] for part in LABELLED}
    unread = {}
    for (part, name), result in zip(names, results, strict=True):
        if isinstance(result, InputError):
            unread[name] = result.reason
        else:
            counts[part].append(result)
    return {part: scans_per_label(of_part) for part, of_part in counts.items()}, unread


def _counts_in(path: Path) -> dict[int, int] | InputError:
    try:
        with collect_warnings():
            return count_values(whole_labels(read_scan(path).array, path))
    except InputError as error:
        return error


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
        if value == 0 or value in trained or not trained:
            continue
        sections = [
            f"{part} ({shown[value]} scans)" for part, shown in scans.items() if value in shown
        ]
        lines[value] = (
            f"label {value} ({names.get(value, f'label_{value}')}) occurs only in "
            f"{' and '.join(sections)}: no training scan shows it, and it is scored as "
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
    for value in (value for value in names if value not in {0, *shown, *lines}):
        lines[value] = f"label {value} ({names[value]}) is declared, but no training scan shows it"
    return [lines[value] for value in sorted(lines)]


def known_label_scans(datalist: Mapping[str, Any]) -> dict[str, dict[int, int]]:
    """Return section -> number -> scans, as ``monai-semiseg split`` wrote it; or empty."""
    noted = datalist.get("label_scans", {})
    return {part: {int(v): int(n) for v, n in shown.items()} for part, shown in noted.items()}
