"""Manifest of a folder run: its finished cases, to resume it and to share it among processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.cases import Case
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import CaseResult
from monai_semiseg.storage.files import output_errors, sha256_of, write_atomically
from monai_semiseg.storage.lock import WorkLock


class RunManifest:
    """One line per finished case, in ``manifest/`` of the output folder.

    A case counts as finished if its line is complete, the scan has not changed since and the mask
    has the hash of the line. Every process writes a file of its own and reads all files; a line cut
    by a kill is ignored.

    Args:
        folder: output folder.
        identity: weights, settings and labels: results of one identity belong together.
        shard: number of this process's part of the cases, and number of parts.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], shard: tuple[int, int] = (1, 1)
    ) -> None:
        self.output = folder
        self.folder = folder / "manifest"
        self.shard = shard
        self._entries: dict[str, dict[str, Any]] = {}
        self.identity = json.dumps(identity, sort_keys=True, default=str)
        self.lock = WorkLock(self.folder / f"{shard[0]}-of-{shard[1]}.lock")

    @property
    def is_same_run(self) -> bool:
        """Return True if the folder holds results of this identity."""
        return self._note() == self.identity

    @property
    def started(self) -> bool:
        """Return True if the folder holds results of any run."""
        return self._note() is not None

    def open(self) -> dict[str, CaseResult]:
        """Lock this process's part, and return the results of finished cases, by case.

        Raises:
            ConfigError: If another process works on it, or on a part of another partition.
        """
        if self._other_partition_runs() or not self.lock.acquire():
            raise ConfigError(
                "another process writes into this folder",
                expected="one process, or processes with --shard 1/n to n/n",
                remedy="wait for it, or choose another output folder",
                path=self.output,
            )
        if not self.is_same_run:
            write_atomically(self.folder / "run.json", self.identity + "\n")
        return self.finished()

    def _other_partition_runs(self) -> bool:
        """Return True if a process works on a part of another number of parts."""
        for path in self.folder.glob("*.lock"):
            same = path.stem.endswith(f"-of-{self.shard[1]}")
            if not same and not WorkLock(path).free:
                return True
        return False

    def close(self) -> None:
        """Release the lock."""
        self.lock.release()

    def clear(self) -> None:
        """Remove all entries; masks are replaced when their cases are run again."""
        for file in self.folder.glob("*.jsonl"):
            file.unlink()
        (self.folder / "run.json").unlink(missing_ok=True)

    def finished(self) -> dict[str, CaseResult]:
        """Return results by case id; of a case that was run twice, the later one."""
        entries: dict[str, dict[str, Any]] = {}
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in file.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    entries[entry["case"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue
        self._entries = entries
        return {case: CaseResult(**entry["result"]) for case, entry in entries.items()}

    def is_finished(self, case: Case) -> bool:
        """Return True if a case was done, and its scan and mask have not changed since."""
        entry = self._entries.get(case.id)
        if entry is None or entry["result"]["status"] != "done" or entry["stamp"] != stamp(case):
            return False
        mask = self.output / entry["result"]["output"]
        return mask.is_file() and sha256_of(mask) == str(entry["sha256"])

    def add(self, case: Case, result: CaseResult) -> None:
        """Add the entry of a case; it is on the disk before this returns.

        Raises:
            OutputError: If it cannot be written.
        """
        digest = sha256_of(self.output / result.output) if result.status == "done" else ""
        entry = {"case": case.id, "stamp": stamp(case), "sha256": digest, "result": asdict(result)}
        path = self.folder / f"{self.shard[0]}-of-{self.shard[1]}.jsonl"
        remedy = "free disk space, then run again to go on"
        with output_errors(path, remedy), path.open("a") as stream:
            # The line break comes first: it ends a line that a kill has cut.
            stream.write("\n" + json.dumps(entry))
            stream.flush()
            os.fsync(stream.fileno())
        self.lock.touch()

    def _note(self) -> str | None:
        try:
            return (self.folder / "run.json").read_text().strip()
        except OSError:
            return None


def stamp(case: Case) -> str:
    """Return a text that changes with the scan: number, sizes and time of its files.

    Every run unpacks archives anew: for their scans, the time of the archive counts.
    """
    sizes = [file.stat().st_size for file in case.files if file.exists()]
    source = case.archive or case.source
    written = source.stat().st_mtime_ns if source.is_file() else 0
    return f"{len(sizes)} files, {sum(sizes)} bytes, {written}"
