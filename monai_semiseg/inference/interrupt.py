"""Stop of a run by Ctrl-C or SIGTERM, between two cases."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class StopRequest:
    """Signal handler that remembers a request to stop.

    Attributes:
        wanted: True once a signal has come.
    """

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, number: int, frame: Any) -> None:
        """Take the signal; a second one stops at once."""
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request to stop, within the block."""
    request = StopRequest()
    with handled(request, signal.SIGINT, signal.SIGTERM):
        yield request


@contextmanager
def handled(handler: Callable[[int, Any], Any], *numbers: signal.Signals) -> Iterator[None]:
    """Handle these signals within the block; the former handlers come back after it.

    Other threads than the main one cannot take signals, and keep the former handlers.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers if main}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
