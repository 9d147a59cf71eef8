"""Outcome of a cell: the files in its folder that say how far it is and what it resulted in."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import sha256_of, write_atomically
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.provenance import UNKNOWN


class CellOutcome:
    """The results of a cell on the disk.

    Files in the cell's folder: ``identity.json`` says which cell it is, ``code.txt`` which code
    worked on it, ``learning_curve.csv`` how far the training is, ``cell.json`` that it is finished.

    Args:
        spec: the cell.
    """

    def __init__(self, spec: CellSpec) -> None:
        self.spec = spec
        self.folder = spec.folder

    @property
    def done(self) -> bool:
        """Return True if the cell is finished."""
        return (self.folder / "cell.json").is_file()

    @property
    def begun(self) -> bool:
        """Return True if a process has worked on the cell."""
        return (self.folder / "log.txt").exists()

    def has(self, name: str) -> bool:
        """Return True if the cell is finished and kept a file; imported cells have scores only."""
        return self.done and (self.folder / name).is_file()

    def claim(self) -> None:
        """Write which cell the folder is for, before anything else is written into it.

        Raises:
            ConfigError: If it holds another cell's work.
        """
        note = self.folder / "identity.json"
        digest = self.spec.digest()
        if note.is_file() and json.loads(note.read_text())["digest"] != digest:
            raise ConfigError(
                "was run with other configs, data or settings",
                expected="the same ones: results of different runs are not mixed",
                remedy="choose another --output, or remove this folder to run the cell again",
                path=self.folder,
            )
        content = {"digest": digest, **self.spec.identity()}
        write_atomically(note, json.dumps(content, indent=1, default=str) + "\n")

    def begin(self, code: str) -> None:
        """Add the version of the code that starts or resumes the cell to those before it."""
        codes = sorted({*self._codes(), code})
        write_atomically(self.folder / "code.txt", "\n".join(codes) + "\n")

    def _codes(self) -> list[str]:
        note = self.folder / "code.txt"
        if note.is_file():
            return note.read_text().split("\n")[:-1]
        return [UNKNOWN] if self.begun else []

    def finish(self, pace: float | None = None) -> None:
        """Mark the cell as finished; nothing is written after this.

        Args:
            pace: seconds per iteration, all else included; None if it is not known.
        """
        self.write(
            {
                "code": " + ".join(self._codes()),
                "model.pt": sha256_of(self.spec.weights),
                "test/metrics.csv": sha256_of(self.folder / "test" / "metrics.csv"),
                "seconds_per_iteration": pace,
            }
        )

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write ``cell.json``, which marks the cell as finished."""
        scores = self.spec.rate_scores
        rates = {"learning_rates": dict(scores)} if scores else {}
        content = {"digest": self.spec.digest(), **facts, **rates}
        write_atomically(self.folder / "cell.json", json.dumps(content, indent=1) + "\n")

    def read(self) -> dict[str, Any]:
        """Return the content of ``cell.json``."""
        content: dict[str, Any] = json.loads((self.folder / "cell.json").read_text())
        return content

    def progress(self) -> int:
        """Return the number of finished iterations."""
        if self.done:
            return self.spec.iterations
        try:
            with (self.folder / "learning_curve.csv").open() as stream:
                return max((int(row["iteration"]) for row in csv.DictReader(stream)), default=0)
        except (OSError, ValueError, KeyError):
            return 0


def seconds_left(specs: Sequence[CellSpec]) -> float | None:
    """Estimate the time of the unfinished cells, run one after the other.

    Finished cells of the same arm tell the seconds per iteration; for an arm without one, those of
    all arms.

    Returns:
        Seconds; None if no cell was finished here.
    """
    paces: dict[str, list[float]] = {spec.cell.arm.name: [] for spec in specs}
    measured: list[float] = []
    for spec in specs:
        outcome = CellOutcome(spec)
        pace = outcome.read().get("seconds_per_iteration") if outcome.done else None
        if pace is not None:
            paces[spec.cell.arm.name].append(pace)
            measured.append(pace)
    if not measured:
        return None
    seconds = 0.0
    for spec in specs:
        known = paces[spec.cell.arm.name] or measured
        left = spec.iterations - CellOutcome(spec).progress()
        seconds += left * sum(known) / len(known)
    return seconds
