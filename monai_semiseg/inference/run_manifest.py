"""Manifest of a folder run: its finished cases, as every process that does some writes them."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.cases import Case
from monai_semiseg.export.report import CaseResult
from monai_semiseg.storage.files import output_errors, sha256_of, write_atomically


class RunManifest:
    """One line per finished case, in ``manifest/`` of the output folder.

    A case counts as finished if its line is complete, the scan has not changed since and the mask
    has the hash of the line. Every process adds to a file of its own and reads all files, so any
    number of them may work in one folder, those of two runs as well: masks are whole or absent,
    and equal whoever wrote them. A line cut by a kill is ignored.

    Args:
        folder: output folder.
        identity: weights, settings and labels: results of one identity belong together.
        number: of the run in this folder, for its workers; None: one more than there were.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], number: int | None = None
    ) -> None:
        self.output = folder
        self.folder = folder / "manifest"
        self._entries: dict[str, dict[str, Any]] = {}
        self._returned: dict[str, CaseResult] = {}
        self.identity = json.dumps(identity, sort_keys=True, default=str)
        self.number = 1 + self._last_number() if number is None else number

    @property
    def is_same_run(self) -> bool:
        """Return True if the folder holds results of this identity."""
        return self._note() == self.identity

    @property
    def started(self) -> bool:
        """Return True if the folder holds results of any run."""
        return self._note() is not None

    def open(self) -> dict[str, CaseResult]:
        """Say whose results the folder holds, and return those of finished cases, by case."""
        if not self.is_same_run:
            write_atomically(self.folder / "run.json", self.identity + "\n")
        return self.finished()

    def clear(self) -> None:
        """Remove all entries; masks are replaced when their cases are run again."""
        for file in self.folder.glob("*.jsonl"):
            file.unlink(missing_ok=True)
        (self.folder / "run.json").unlink(missing_ok=True)

    def finished(self) -> dict[str, CaseResult]:
        """Return results by case id.

        Of a case that several runs did, the last run's result counts. Within a run a case is done
        twice if a worker was thought lost: then what is done counts more than what failed. What a
        worker has returned counts also if its file is not to be seen here yet.
        """
        entries: dict[str, dict[str, Any]] = {}
        numbers: dict[str, int] = {}
        for file in sorted(self.folder.glob("*.jsonl"), key=lambda file: (_number(file), file)):
            number = _number(file)
            for line in file.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    case = entry["case"]
                    done = entry["result"]["status"] == "done"
                except (ValueError, KeyError, TypeError):
                    continue
                if done or numbers.get(case) != number or not _is_done(entries[case]):
                    entries[case] = entry
                    numbers[case] = number
        self._entries = entries
        unseen = {
            case: result
            for case, result in self._returned.items()
            if numbers.get(case) != self.number
        }
        return {case: CaseResult(**entry["result"]) for case, entry in entries.items()} | unseen

    def keep(self, case: Case, result: CaseResult) -> None:
        """Keep what a worker of another machine has returned, beside its file.

        A shared file system may show a new file here half a minute later.
        """
        self._returned[case.id] = result

    def is_finished(self, case: Case) -> bool:
        """Return True if a case was done, and its scan and mask have not changed since."""
        entry = self._entries.get(case.id)
        if entry is None or not _is_done(entry) or entry["stamp"] != stamp(case):
            return False
        mask = self.output / entry["result"]["output"]
        return mask.is_file() and sha256_of(mask) == str(entry["sha256"])

    def add(self, case: Case, result: CaseResult) -> None:
        """Add the entry of a case; it is on the disk before this returns.

        Raises:
            OutputError: If it cannot be written.
        """
        path = self.folder / f"run_{self.number:04}_{platform.node()}_{os.getpid()}.jsonl"
        remedy = "free disk space, then run again to go on"
        with output_errors(path, remedy):
            done = result.status == "done"
            digest = sha256_of(self.output / result.output) if done else ""
            entry = {"case": case.id, "stamp": stamp(case), "sha256": digest}
            with path.open("a") as stream:
                # The line break comes first: it ends a line that a kill has cut.
                stream.write("\n" + json.dumps({**entry, "result": asdict(result)}))
                stream.flush()
                os.fsync(stream.fileno())

    def _note(self) -> str | None:
        try:
            return (self.folder / "run.json").read_text().strip()
        except OSError:
            return None

    def _last_number(self) -> int:
        return max(map(_number, self.folder.glob("*.jsonl")), default=0)


def _number(file: Path) -> int:
    """Return the number of the run that wrote a file; 0 for earlier versions of this package."""
    found = re.match(r"run_(\d+)_", file.name)
    return int(found[1]) if found else 0


def _is_done(entry: Mapping[str, Any]) -> bool:
    return bool(entry["result"]["status"] == "done")


def stamp(case: Case) -> str:
    """Return a text that changes with the scan: number, sizes and newest time of its files.

    Every run unpacks archives anew: for their scans, the time of the archive counts.
    """
    sizes = [file.stat().st_size for file in case.files if file.exists()]
    timed = case.files if case.archive is None else (case.archive,)
    written = max((file.stat().st_mtime_ns for file in timed if file.exists()), default=0)
    return f"{len(sizes)} files, {sum(sizes)} bytes, {written}"
