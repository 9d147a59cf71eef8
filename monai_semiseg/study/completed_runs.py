"""Import of completed runs: an earlier study's tables give the results of equal cells."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.metrics import metrics_among
from monai_semiseg.storage.files import sha256_of
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.grid import cell_id
from monai_semiseg.study.learning_rates import RateSearch
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.report import versions
from monai_semiseg.study.results import Row as ScoreRow
from monai_semiseg.study.results import row_of

Row = dict[str, str]


def import_completed_runs(specs: Sequence[CellSpec], source: Path) -> int:
    """Import the results of equal cells that another study has finished.

    Equal cells have the same configs, settings, split, plan, budget and training seed. Scores are
    imported, weights and pictures are not. A cell that has begun here is left alone.

    Args:
        specs: cells of this study.
        source: folder of the other one, with at least its ``protocol.json`` and ``results.csv``.

    Returns:
        The number of imported cells.

    Raises:
        ConfigError: If the folder holds no results, or other versions of the libraries computed
            them.
    """
    protocol, scores = read_study(source)
    _check_versions(protocol["versions"], source)
    completed = {
        cell["digest"]: (name, cell)
        for name, cell in protocol["cells"].items()
        if cell["status"] == "finished"
    }
    count = 0
    for spec in specs:
        name, cell = completed.get(spec.digest(), ("", {}))
        if name in scores:
            facts = {
                "known_from": source.name,  # studies on disk have this key
                "model.pt": cell["weights"],
                "code": cell.get("code"),
            }
            count += _import_cell(CellOutcome(spec), scores[name], facts)
    return count


def import_choices(searches: Mapping[str, RateSearch], source: Path) -> int:
    """Import the learning rates that another study has chosen by equal cross-validations.

    Args:
        searches: of this study.
        source: folder of the other one, as in :func:`import_completed_runs`.

    Returns:
        The number of imported choices.

    Raises:
        ConfigError: As there.
    """
    protocol, _ = read_study(source)
    _check_versions(protocol["versions"], source)
    known = protocol.get("learning_rates", {})
    count = 0
    for name, search in searches.items():
        content = known.get(name) or {}
        if content.get("digest") == search.digest and search.choice() is None:
            search.write(content)
            count += 1
    return count


def _import_cell(outcome: CellOutcome, rows: Sequence[Row], facts: Mapping[str, Any]) -> bool:
    """Write a cell's scores and mark it as finished, unless a process has begun it.

    Returns:
        True if the scores were written.
    """
    if outcome.done or outcome.begun:
        return False
    outcome.claim()
    group = ("group",) if "group" in rows[0] else ()
    size = ("size",) if "size" in rows[0] else ()
    columns = ("case", "class", "name", *group, *metrics_among(rows[0]), *size)
    scores = [[row.get(name, "") for name in columns] for row in rows]
    table = write_table(outcome.folder / "test" / "metrics.csv", columns, scores)
    outcome.write({"test/metrics.csv": sha256_of(table), **facts})
    return True


def read_study(source: Path) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """Return the protocol, and the rows of ``results.csv`` by cell.

    Raises:
        ConfigError: If the folder does not hold both.
    """
    scores: dict[str, list[Row]] = {}
    try:
        protocol = json.loads((source / "protocol.json").read_text())
        with (source / "results.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        if not {"versions", "cells"} <= protocol.keys():
            raise ValueError("protocol.json names no versions and cells")
        for row in rows:
            cell = cell_id(row["arm"], row["labelled"], row["split"], row["seed"])
            scores.setdefault(cell, []).append(row)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"no results of a study ({error})",
            expected="protocol.json and results.csv",
            path=source,
        ) from error
    return protocol, scores


def score_rows(cells: Mapping[str, Sequence[Row]]) -> list[ScoreRow]:
    """Return the scores of the cells that :func:`read_study` has read."""
    return [_score_row(line) for lines in cells.values() for line in lines]


def _score_row(line: Row) -> ScoreRow:
    split = int(line["split"]) if line["split"].isdigit() else line["split"]
    return row_of(line, line["arm"], int(line["labelled"]), split, int(line["seed"]))


def _check_versions(used: Mapping[str, str], source: Path) -> None:
    """Refuse results of other versions; Python's own may differ."""
    installed = versions()
    del installed["python"]
    other = [f"{name} {used.get(name)}" for name in installed if used.get(name) != installed[name]]
    if other:
        raise ConfigError(
            f"results of {', '.join(other)}",
            expected="the installed versions: results of different ones are not mixed",
            remedy="run those cells again, without --completed",
            path=source,
        )
