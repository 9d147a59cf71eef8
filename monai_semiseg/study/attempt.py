"""The newest attempt at a cell: of two that work in one folder, the one that began last goes on."""

from __future__ import annotations

import platform
from pathlib import Path

from monai_semiseg.storage.newest import Newest
from monai_semiseg.storage.processes import end_process, started_at


class Attempt(Newest):
    """Record of who works on a cell, ``attempt.json`` in its folder.

    A worker may be thought lost and live on, and two runs may meet in one folder. The attempt that
    is not the newest any more sees that within a second, and ends its training; the new one
    resumes from the last checkpoint. A training of this machine whose worker was killed is ended
    first.

    Args:
        folder: of the cell.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "attempt.json")

    def begin(self) -> None:
        """End what an earlier attempt left on this machine, and become the newest."""
        before = self.read()
        super().begin()
        if before.get("host") == platform.node():
            end_process(int(before.get("pid", 0)), str(before.get("started", "")))

    def works_by(self, pid: int) -> None:
        """Say which process works."""
        if self.is_newest:
            self.note(pid=pid, started=started_at(pid))
