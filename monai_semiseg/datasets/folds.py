"""Cross-validation among the labelled training scans of a datalist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_semiseg.datasets.layout import files_text
from monai_semiseg.datasets.split import in_groups


def cross_validation_folds(datalist: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return a datalist per fold, whose test scans are a part of the labelled training scans.

    Nothing else of the datalist changes, but that its own test scans are in no fold. Scans of one
    group are held out together, and unlabelled ones of that group are left out. With fewer training
    scans (or groups) than folds, each is held out once.

    Args:
        datalist: a datalist of :func:`~monai_semiseg.datasets.split.split`.
        count: number of folds.

    Returns:
        The folds; empty if there is one training scan or group only.
    """
    entries = {files_text(entry["image"]): entry for entry in datalist["training"]}
    group_of = {name: str(entry.get("group") or "") for name, entry in entries.items()}
    groups = in_groups(entries, group_of, salt=f"folds/{datalist['split']['seed']}")
    folds = min(count, len(groups))
    if folds < 2:
        return []
    found = []
    for number in range(folds):
        held_out = {name for group in groups[number::folds] for name in group}
        patients = {group_of[name] for name in held_out} - {""}
        found.append(
            {
                **datalist,
                "split": {**datalist["split"], "fold": number, "folds": folds},
                "training": [entries[name] for name in entries if name not in held_out],
                "unlabeled": [
                    entry
                    for entry in datalist["unlabeled"]
                    if not entry.get("group") or str(entry["group"]) not in patients
                ],
                "test": [entries[name] for name in entries if name in held_out],
            }
        )
    return found
