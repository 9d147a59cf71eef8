"""The newest attempt at a cell: of two that work in one folder, the one that began last goes on."""

from __future__ import annotations

import json
import platform
import uuid
from pathlib import Path
from typing import Any

from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.processes import end_process, started_at


class Attempt:
    """Record of who works on a cell, ``attempt.json`` in its folder.

    Nobody waits for it. A worker may be thought lost and live on, and two runs may meet in one
    folder: whoever begins replaces the record, and the attempt before it sees that within a second
    and ends its training. The new one resumes from the last checkpoint. A training of this machine
    whose worker was killed is ended first.

    Args:
        folder: of the cell.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "attempt.json"
        self.token = uuid.uuid4().hex

    def begin(self) -> None:
        """End what an earlier attempt left on this machine, and become the newest."""
        before = self._read()
        if before.get("host") == platform.node():
            end_process(int(before.get("pid", 0)), str(before.get("started", "")))
        self._write()

    def note(self, pid: int) -> None:
        """Say which process works."""
        self._write(pid=pid, started=started_at(pid))

    @property
    def is_newest(self) -> bool:
        """Return True if no other attempt began after this one."""
        return self._read().get("token") == self.token

    def close(self) -> None:
        """Remove the record, unless it is another one's by now."""
        if self.is_newest:
            self.path.unlink(missing_ok=True)

    def _write(self, **facts: Any) -> None:
        content = {"token": self.token, "host": platform.node(), **facts}
        write_atomically(self.path, json.dumps(content) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
