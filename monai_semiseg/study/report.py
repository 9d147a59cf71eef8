"""What people look at: the label-efficiency curve, one HTML file, and the protocol."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_semiseg import __version__
from monai_semiseg.plain_text import as_html
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.study.answer import answer, mixed_code
from monai_semiseg.study.cell import Job
from monai_semiseg.study.figures import draw_curve, draw_differences
from monai_semiseg.study.grid import Grid
from monai_semiseg.study.pairs import write_pairs
from monai_semiseg.study.results import (
    Summary,
    as_markdown,
    read_rows,
    summarise,
    write_rows,
    write_summary,
)


def write_results(grid: Grid, jobs: Sequence[Job]) -> str:
    """Write all files of a study from its finished cells, and return the table and the answer as text.

    ``results.csv``, ``summary.csv``, ``summary.md``, ``pairs.csv``, ``curve.png``,
    ``differences.png``, ``report.html``, ``answer.txt``, ``protocol.json``.
    """
    folder = grid.output
    write_protocol(grid, jobs, folder / "protocol.json")
    rows = read_rows(jobs)
    if not rows:
        return "no cell is finished\n"
    summaries = summarise(rows)
    sentences = answer(rows, summaries, grid.full) + mixed_code(jobs)
    write_rows(rows, folder / "results.csv")
    write_summary(summaries, folder)
    write_pairs(rows, folder / "pairs.csv")
    write_atomically(folder / "answer.txt", "\n".join(sentences) + "\n")
    draw_curve(summaries, grid.full, folder / "curve.png")
    draw_differences(summaries, folder / "differences.png")
    write_html(summaries, sentences, jobs, folder)
    return as_markdown(summaries) + "\n" + "\n".join(sentences) + f"\n{folder / 'report.html'}\n"


def write_html(
    summaries: Sequence[Summary], sentences: Sequence[str], jobs: Sequence[Job], folder: Path
) -> None:
    """Write ``report.html``: answer, curve, tables, and the worst cases of every finished cell, in one file."""
    parts = [
        "<!doctype html><meta charset='utf-8'><title>Label-efficiency study</title>",
        "<style>body{font:15px sans-serif;max-width:72em;margin:2em auto}td,th{padding:.2em .6em;text-align:left}"
        "tr:nth-child(odd){background:#f3f3f3}img{max-width:100%}</style><h1>Label-efficiency study</h1><ul>",
        *(f"<li>{as_html(sentence)}</li>" for sentence in sentences),
        "</ul>",
        *(
            _image(file)
            for file in (folder / "differences.png", folder / "curve.png")
            if file.is_file()
        ),
        _table(as_markdown(summaries)),
        "<h2>Worst test cases</h2>",
    ]
    for job in jobs:
        picture = job.folder / "test" / "worst_cases.png"
        if job.done and picture.is_file():
            name = as_html(job.cell.id)
            parts.append(f"<details><summary>{name}</summary>{_image(picture)}</details>")
    write_atomically(folder / "report.html", "\n".join(parts) + "\n")


def _image(path: Path) -> str:
    return f"<img alt='{path.stem}' src='data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}'>"


def _table(markdown: str) -> str:
    head, _, *body = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()
    ]
    rows = [f"<tr>{''.join(f'<td>{as_html(cell)}</td>' for cell in row)}</tr>" for row in body]
    names = "".join(f"<th>{as_html(cell)}</th>" for cell in head)
    return f"<table><tr>{names}</tr>{''.join(rows)}</table>"


def write_protocol(grid: Grid, jobs: Sequence[Job], path: Path) -> None:
    """Write exactly what was run: versions, grid, and for every cell the hashes of configs, split, plan and weights."""
    content: dict[str, Any] = {
        "versions": versions(),
        "dataset": grid.dataset.name,
        "test": grid.test,
        "iterations": grid.iterations,
        "labelled": grid.labelled,
        "seeds": grid.seeds,
        "arms": [arm.name for arm in grid.arms],
        "cells": {
            job.cell.id: {**job.identity(), "digest": job.digest(), **_outcome(job)} for job in jobs
        },
    }
    write_atomically(path, json.dumps(content, indent=1, default=str) + "\n")


def versions() -> dict[str, str]:
    """Of this package, of Python, and of the libraries that a result depends on."""
    names = ("monai", "torch", "pytorch-ignite", "numpy", "nibabel", "scipy")
    return {
        "monai_semiseg": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def _outcome(job: Job) -> dict[str, str | None]:
    if not job.done:
        return {"status": "not finished"}
    return {
        "status": "finished",
        "weights": job.outcome()["model.pt"],
        "code": job.outcome().get("code"),
    }
