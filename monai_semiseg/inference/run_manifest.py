"""What a folder run has finished, so that a killed one goes on, and several processes share one folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.cases import Case
from monai_semiseg.errors import ConfigError, OutputError
from monai_semiseg.export.report import CaseResult
from monai_semiseg.storage.files import sha256_of, write_atomically
from monai_semiseg.storage.lock import WorkLock


class RunManifest:
    """One line per finished case, in ``manifest/`` of the output folder.

    A case counts as finished if its line is whole, the scan has not changed since and the mask has
    the hash that the line says. Every process writes a file of its own and reads all; a line that a
    kill tore is no line.

    Args:
        folder: output folder.
        identity: what makes results belong together: weights, settings, labels.
        shard: which part of the cases this process does, and of how many parts.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], shard: tuple[int, int] = (1, 1)
    ) -> None:
        self.output, self.folder, self.shard = folder, folder / "manifest", shard
        self.identity = json.dumps(identity, sort_keys=True, default=str)
        self.lock = WorkLock(self.folder / f"{shard[0]}-of-{shard[1]}.lock")

    @property
    def ours(self) -> bool:
        """Whether the folder holds results of just this run."""
        return self._note() == self.identity

    @property
    def started(self) -> bool:
        """Whether there is a run at all."""
        return self._note() is not None

    def open(self) -> dict[str, CaseResult]:
        """Take this process's part, and return what is finished, by case.

        Raises:
            ConfigError: If another process works on it, or on other parts.
        """
        others = [
            p for p in self.folder.glob("*.lock") if not p.stem.endswith(f"-of-{self.shard[1]}")
        ]
        if any(not WorkLock(path).free for path in others) or not self.lock.acquire():
            raise ConfigError(
                "another process writes into this folder",
                expected="one process, or processes with --shard 1/n to n/n",
                remedy="wait for it, or choose another output folder",
                path=self.output,
            )
        if not self.ours:
            write_atomically(self.folder / "run.json", self.identity + "\n")
        return self.finished()

    def close(self) -> None:
        """Let others in."""
        self.lock.release()

    def clear(self) -> None:
        """Forget what was done; files are replaced as their cases are done again."""
        for file in self.folder.glob("*.jsonl"):
            file.unlink()
        (self.folder / "run.json").unlink(missing_ok=True)

    def finished(self) -> dict[str, CaseResult]:
        """Results by case id; of a case that was done twice, the later one."""
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

    def still_good(self, case: Case) -> bool:
        """Whether a case was done, from the same scan, and its mask is what was written then."""
        entry = self._entries.get(case.id)
        if entry is None or entry["result"]["status"] != "done" or entry["stamp"] != stamp(case):
            return False
        mask = self.output / entry["result"]["output"]
        return mask.is_file() and sha256_of(mask) == str(entry["sha256"])

    def add(self, case: Case, result: CaseResult) -> None:
        """Note a case that is over; on the disk before this returns.

        Raises:
            OutputError: If it cannot be written.
        """
        digest = sha256_of(self.output / result.output) if result.status == "done" else ""
        entry = {"case": case.id, "stamp": stamp(case), "sha256": digest, "result": asdict(result)}
        path = self.folder / f"{self.shard[0]}-of-{self.shard[1]}.jsonl"
        try:
            with path.open("a") as stream:
                # The line break comes first: after a kill, the line that it tore ends here.
                stream.write("\n" + json.dumps(entry))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"cannot be written ({error.strerror or error})",
                expected="a folder that can be written, with room",
                remedy="free disk space, then run again to go on",
                path=path,
            ) from error
        self.lock.touch()

    def _note(self) -> str | None:
        try:
            return (self.folder / "run.json").read_text().strip()
        except OSError:
            return None


def stamp(case: Case) -> str:
    """What changes when a scan does: number and sizes of its files, and when the source was written.

    What lies in an archive is unpacked anew by every run: there the archive counts.
    """
    sizes = [file.stat().st_size for file in case.files if file.exists()]
    source = case.archive or case.source
    written = source.stat().st_mtime_ns if source.is_file() else 0
    return f"{len(sizes)} files, {sum(sizes)} bytes, {written}"
