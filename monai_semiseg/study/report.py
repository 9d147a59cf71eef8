"""Report of a study: all its files, with one HTML page and the protocol."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_semiseg import __version__
from monai_semiseg.plain_text import as_html
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.study.answer import answer, mixed_code
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.figures import draw_curve, draw_differences
from monai_semiseg.study.gates import check_gates, headroom
from monai_semiseg.study.grid import Grid
from monai_semiseg.study.learning_rates import RateSearch, write_learning_rates
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.results import Row, Summary, ranked, read_rows, summarise
from monai_semiseg.study.selections import write_selections
from monai_semiseg.study.tables import as_markdown, write_pairs, write_rows, write_summary

_STYLE = """
body { font: 15px sans-serif; max-width: 72em; margin: 2em auto }
td, th { padding: .2em .6em; text-align: left }
tr:nth-child(odd) { background: #f3f3f3 }
img { max-width: 100% }
"""


def write_results(
    grid: Grid, specs: Sequence[CellSpec], searches: Mapping[str, RateSearch] | None = None
) -> str:
    """Write all files of a study from its finished cells; return the table and the answer as text.

    ``results.csv``, ``summary.csv``, ``summary.md``, ``pairs.csv``, ``learning_rates.csv``,
    ``curve.png``, ``differences.png``, ``report.html``, ``answer.txt``, ``protocol.json``; for a
    study by selections ``results.csv``, ``selections.md``, ``selections.json``, ``protocol.json``.

    Args:
        grid: the study.
        specs: its cells.
        searches: its searches for learning rates, by name.
    """
    folder = grid.output
    searches = searches or {}
    write_protocol(grid, specs, searches, folder / "protocol.json")
    write_learning_rates(searches, folder / "learning_rates.csv")
    scored = read_rows(specs)
    rows = ranked(scored)
    if not rows:
        return "no cell is finished\n"
    write_rows(scored, folder / "results.csv")
    if grid.by_selection:
        return write_selections(rows, folder)
    summaries, sentences = write_tables(
        scored, folder, full=grid.full, fewest=min(grid.labelled), more=grid.more
    )
    sentences += mixed_code(specs)
    write_atomically(folder / "answer.txt", "\n".join(sentences) + "\n")
    write_html(summaries, sentences, specs, folder)
    return as_markdown(summaries) + "\n" + "\n".join(sentences) + f"\n{folder / 'report.html'}\n"


def write_tables(
    scored: Sequence[Row], folder: Path, *, full: int, fewest: int, more: int | None = None
) -> tuple[list[Summary], list[str]]:
    """Write tables and figures of scores; return the summaries, and gates and answer as sentences.

    ``summary.csv``, ``summary.md``, ``pairs.csv``, ``curve.png``, ``differences.png``.

    Args:
        scored: all rows, those of the control for the gates included.
        folder: where the files go.
        full: the budget that is all labels.
        fewest: the smallest budget that was asked for.
        more: labels to come, as in :func:`~monai_semiseg.study.answer.answer`.
    """
    rows = ranked(scored)
    summaries = summarise(rows)
    gates, passed = headroom(check_gates(scored, fewest, full))
    write_summary(summaries, folder, () if passed else gates)
    write_pairs(rows, folder / "pairs.csv")
    draw_curve(summaries, full, folder / "curve.png")
    draw_differences(summaries, folder / "differences.png")
    return summaries, [*gates, *answer(rows, summaries, full, more)]


def write_html(
    summaries: Sequence[Summary], sentences: Sequence[str], specs: Sequence[CellSpec], folder: Path
) -> None:
    """Write ``report.html``, one file: the answer, figures, tables and every cell's worst cases."""
    figures = [folder / "differences.png", folder / "curve.png"]
    parts = [
        "<!doctype html><meta charset='utf-8'><title>Label-efficiency study</title>",
        f"<style>{_STYLE}</style><h1>Label-efficiency study</h1><ul>",
        *(f"<li>{as_html(sentence)}</li>" for sentence in sentences),
        "</ul>",
        *(_image(file) for file in figures if file.is_file()),
        _table(as_markdown(summaries)),
        "<h2>Worst test cases</h2>",
    ]
    for spec in specs:
        if CellOutcome(spec).has("test/worst_cases.png"):
            name = as_html(spec.cell.id)
            image = _image(spec.folder / "test" / "worst_cases.png")
            parts.append(f"<details><summary>{name}</summary>{image}</details>")
    write_atomically(folder / "report.html", "\n".join(parts) + "\n")


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{path.stem}' src='data:image/png;base64,{data}'>"


def _table(markdown: str) -> str:
    head, _, *body = markdown.splitlines()
    rows = [_row(head, "th"), *(_row(line, "td") for line in body)]
    return f"<table>{''.join(rows)}</table>"


def _row(line: str, tag: str) -> str:
    """Return a line of a Markdown table as a row of an HTML table."""
    cells = [as_html(cell.strip()) for cell in line.strip("|").split("|")]
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def write_protocol(
    grid: Grid, specs: Sequence[CellSpec], searches: Mapping[str, RateSearch], path: Path
) -> None:
    """Write exactly what was run.

    Versions, the grid, the chosen learning rates, and for every cell the hashes of configs, split,
    plan and weights.
    """
    choices = {name: search.choice() for name, search in searches.items()}
    content: dict[str, Any] = {
        "versions": versions(),
        "dataset": grid.dataset.name,
        "test": grid.test,
        "iterations": grid.iterations,
        "labelled": grid.labelled,
        "all_labels": grid.full,
        "splits": grid.splits,
        "seeds": grid.seeds,
        "validation": grid.validation,
        "arms": [arm.name for arm in grid.arms],
        **({"learning_rates": choices} if choices else {}),
        "cells": {
            spec.cell.id: {**spec.identity(), "digest": spec.digest(), **_status(spec)}
            for spec in specs
        },
    }
    write_atomically(path, json.dumps(content, indent=1, default=str) + "\n")


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of the libraries results depend on."""
    names = ("monai", "torch", "pytorch-ignite", "numpy", "nibabel", "scipy")
    return {
        "monai_semiseg": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def _status(spec: CellSpec) -> dict[str, str | None]:
    outcome = CellOutcome(spec)
    if not outcome.done:
        return {"status": "not finished"}
    facts = outcome.read()
    return {"status": "finished", "weights": facts["model.pt"], "code": facts.get("code")}
