"""Cases that a user chooses for labelling: by a table, by their ids, or by a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset, case_of
from monai_semiseg.datasets.layout import files_text
from monai_semiseg.datasets.split import SIDE
from monai_semiseg.errors import ConfigError, did_you_mean
from monai_semiseg.labelling.selection_table import read_selection
from monai_semiseg.labelling.target import HELD_OUT


@dataclass(frozen=True)
class Chosen:
    """Cases to propose masks for.

    Attributes:
        cases: the cases.
        most: number of them to hand out; None for all.
    """

    cases: list[DatasetCase]
    most: int | None = None


def choose(
    dataset: ScanDataset, text: str | None, datalist: Mapping[str, Any] | None = None
) -> Chosen:
    """Read what ``--cases`` says.

    Args:
        dataset: the dataset.
        text: a table as ``select`` writes it, or with a column ``id`` alone; ids with commas
            between; a number, of the unlabelled cases whose correction teaches most; or None for
            all unlabelled cases.
        datalist: a split that says who is not labelled; without one, cases without a label file.

    Raises:
        ConfigError: If a case is unknown, or it or another one of its group is kept for validation
            or testing.
    """
    if text is None or (text.isdecimal() and not Path(text).is_file()):
        return Chosen(unlabelled(dataset, datalist), None if text is None else int(text))
    file = Path(text)
    ids = read_selection(file) if file.is_file() else [one.strip() for one in text.split(",")]
    known = {case.id: case for case in dataset.cases}
    for one in ids:
        if one not in known:
            raise ConfigError(
                f"no case {one!r}",
                expected="a table with a column id, ids with commas between, or a number",
                remedy=did_you_mean(one, known, "monai-semiseg check lists ids"),
                path=dataset.root,
            )
    _require_free(dataset, [known[one] for one in ids], datalist)
    return Chosen([known[one] for one in dict.fromkeys(ids)])


def unlabelled(dataset: ScanDataset, datalist: Mapping[str, Any] | None) -> list[DatasetCase]:
    """Return the cases of a dataset that are to be labelled: those of a split, or without a label.

    Args:
        dataset: the dataset.
        datalist: a split, or None.
    """
    if datalist is None:
        return [case for case in dataset.cases if case.label is None]
    wanted = {case_of(entry).image for entry in datalist.get("unlabeled", [])}
    return [case for case in dataset.cases if case.image in wanted]


def held_out(dataset: ScanDataset, datalist: Mapping[str, Any]) -> dict[str, str]:
    """Return case id -> why it may not train: a split measures results on it, or on its patient.

    Args:
        dataset: the dataset.
        datalist: a split; what it left out because of its group counts, if the dataset has none.
    """
    found = {name: SIDE for name, why in datalist.get("left_out", {}).items() if why == SIDE}
    for section in HELD_OUT:
        images = {case_of(entry).id for entry in datalist.get(section, [])}
        groups = {case.group for case in dataset.cases if files_text(case.image) in images} - {""}
        for case in dataset.cases:
            if files_text(case.image) in images:
                found[case.id] = f"kept for {section}"
            elif case.group in groups:
                found[case.id] = f"of group {case.group}, which is kept for {section}"
    return found


def _require_free(
    dataset: ScanDataset, cases: list[DatasetCase], datalist: Mapping[str, Any] | None
) -> None:
    held = held_out(dataset, datalist or {})
    if kept := [f"{case.id}: {held[case.id]}" for case in cases if case.id in held]:
        raise ConfigError(
            "; ".join(kept),
            expected="cases that may be used for training",
            remedy="leave these cases out; results are measured on them",
            path=dataset.root,
        )
