"""A process that ends with the one that started it, however that one ends."""

from __future__ import annotations

import os
import threading
import time

_OWNER = "MONAI_SEMISEG_OWNER"


def owned_environment() -> dict[str, str]:
    """Return what the environment of a process says that is to end with this one."""
    return {_OWNER: str(os.getpid())}


def end_with_owner(interval: float = 1.0) -> None:
    """End this process soon after the one that it belongs to, if it belongs to one.

    Else a training whose worker was killed would go on, beside the one that replaces it.

    Args:
        interval: seconds between two looks.
    """
    owner = os.environ.pop(_OWNER, "")
    if owner:
        threading.Thread(target=_watch, args=(int(owner), interval), daemon=True).start()


def _watch(owner: int, interval: float) -> None:
    while os.getppid() == owner:
        time.sleep(interval)
    os._exit(1)
