"""Ctrl-C and SIGTERM end a run between two cases, not within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StopRequest:
    """Whether somebody wants the run to stop."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, number: int, frame: Any) -> None:
        """Take the signal; a second one does not wait."""
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block, SIGINT and SIGTERM ask for a stop; only the main thread can take signals."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
