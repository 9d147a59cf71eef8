"""Who began last: of two that write the same files, the newer one goes on, and nobody waits."""

from __future__ import annotations

import json
import platform
import uuid
from pathlib import Path
from typing import Any

from monai_semiseg.storage.files import write_atomically


class Newest:
    """Record of who began last, which whoever begins replaces.

    Unlike a lock it keeps nobody out, so nothing has to be freed after a kill, and neither clocks
    nor the locks of a shared file system matter. Who is not the newest any more sees that, and
    ends.

    Args:
        path: the record, JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = uuid.uuid4().hex

    def begin(self) -> None:
        """Become the newest.

        Raises:
            OutputError: If the folder cannot be written.
        """
        self.note()

    def note(self, **facts: Any) -> None:
        """Write the record anew, with facts for whoever comes after."""
        content = {"token": self.token, "host": platform.node(), **facts}
        write_atomically(self.path, json.dumps(content) + "\n")

    @property
    def is_newest(self) -> bool:
        """Return True if nobody began after this one."""
        return self.read().get("token") == self.token

    def read(self) -> dict[str, Any]:
        """Return the record that is there; empty if there is none."""
        try:
            content = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def close(self) -> None:
        """Remove the record, unless it is another one's by now."""
        if self.is_newest:
            self.path.unlink(missing_ok=True)
