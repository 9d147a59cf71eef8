"""Which labels the scans of a split show, and which of them no training scan does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.label_values import count_values, whole_labels
from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import collect_warnings

LABELLED = ("training", "validation", "test")


def scans_showing(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return number -> how many of the label maps hold it; each is given as number -> voxels."""
    seen = Counter(value for of_file in counts for value in of_file)
    return {value: seen[value] for value in sorted(seen)}


def read_label_scans(
    dataset: ScanDataset, datalist: Mapping[str, Any], *, workers: int = 4, progress: bool = True
) -> tuple[dict[str, dict[int, int]], dict[str, str]]:
    """Read the labels of a split.

    Returns:
        Section -> number -> scans that show it; and label file -> why it could not be read.
    """
    names = [(part, e["label"]) for part in LABELLED for e in datalist[part] if "label" in e]

    def values(name: str) -> dict[int, int] | InputError:
        try:
            with collect_warnings():
                path = dataset.root / name
                return count_values(whole_labels(read_scan(path).array, path))
        except InputError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda pair: values(pair[1]), names)
        bar = tqdm(
            jobs, "Reading labels", len(names), disable=None if progress else True, unit="scan"
        )
        found = list(zip(names, bar, strict=True))
    good = [(part, of_file) for (part, _), of_file in found if not isinstance(of_file, InputError)]
    scans = {
        part: scans_showing(counts for where, counts in good if where == part) for part in LABELLED
    }
    unread = {
        name: of_file.reason for (_, name), of_file in found if isinstance(of_file, InputError)
    }
    return scans, unread


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
    for value in (value for value in names if value not in {0, *shown, *lines}):
        lines[value] = f"label {value} ({names[value]}) is declared, but no training scan shows it"
    return [lines[value] for value in sorted(lines)]


def known_label_scans(datalist: Mapping[str, Any]) -> dict[str, dict[int, int]]:
    """Return what ``monai-semiseg split`` noted of the labels in a datalist; empty if it did not."""
    noted = datalist.get("label_scans", {})
    return {part: {int(v): int(n) for v, n in shown.items()} for part, shown in noted.items()}
