"""Results of an earlier study, of which the tables were kept and nothing else, stand for the cells that they are of."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.metrics import METRICS
from monai_semiseg.storage.files import sha256_of, write_atomically
from monai_semiseg.storage.lock import WorkLock
from monai_semiseg.storage.tables import write_table
from monai_semiseg.study.cell import Job
from monai_semiseg.study.report import versions

SCORED = ("case", "class", "name", *METRICS)


def take_over(jobs: Sequence[Job], source: Path) -> int:
    """Mark cells as finished that another study has run: the same configs, settings, split, plan, budget and seed.

    Their scores come with them, their weights and pictures do not. A cell that has begun here is
    left alone.

    Args:
        jobs: cells of this study.
        source: folder of the other one, with at least its ``protocol.json`` and ``results.csv``.

    Returns:
        How many cells were taken over.

    Raises:
        ConfigError: If the folder holds no results, or they are of other versions of what computes
            them.
    """
    protocol, scores = _read(source)
    known = {
        cell["digest"]: (name, cell)
        for name, cell in protocol["cells"].items()
        if cell["status"] == "finished"
    }
    taken = 0
    for job in jobs:
        name, cell = known.get(job.digest(), ("", {}))
        lock = WorkLock(job.folder / "lock")
        if name not in scores or job.done or not lock.acquire():
            continue
        try:
            if not (job.folder / "log.txt").exists():
                _finish(
                    job,
                    scores[name],
                    {
                        "known_from": source.name,
                        "model.pt": cell["weights"],
                        "code": cell.get("code"),
                    },
                )
                taken += 1
        finally:
            lock.release()
    return taken


def _finish(job: Job, rows: Sequence[dict[str, str]], about: dict[str, str | None]) -> None:
    job.claim()
    scores = [[row.get(name, "") for name in SCORED] for row in rows]
    table = write_table(job.folder / "test" / "metrics.csv", SCORED, scores)
    note = {"digest": job.digest(), "test/metrics.csv": sha256_of(table), **about}
    write_atomically(job.folder / "cell.json", json.dumps(note, indent=1) + "\n")


def _read(source: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    """The protocol, and rows of ``results.csv`` by cell."""
    try:
        protocol = json.loads((source / "protocol.json").read_text())
        with (source / "results.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        theirs, scores = protocol["versions"], dict[str, list[dict[str, str]]]()
        for row in rows:
            scores.setdefault(
                f"{row['arm']}__{row['labelled']}_labelled__seed_{row['seed']}", []
            ).append(row)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"no results of a study ({error})",
            expected="protocol.json and results.csv",
            path=source,
        ) from error
    ours = versions()
    other = [
        f"{name} {theirs.get(name)}"
        for name in ours
        if name != "python" and theirs.get(name) != ours[name]
    ]
    if other:
        raise ConfigError(
            f"results of {', '.join(other)}",
            expected="the versions here: results of different ones are not mixed",
            remedy="run those cells again, without --known",
            path=source,
        )
    return protocol, scores
