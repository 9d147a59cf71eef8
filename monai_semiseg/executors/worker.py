"""A worker's side: open the work once, do the chunks, write a log, end with the coordinator.

Nothing here imports torch: the environment of the libraries is set before the work is unpickled.
"""

from __future__ import annotations

import faulthandler
import io
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_semiseg.executors.work import Chunk, Work


@dataclass(frozen=True)
class WorkerPlan:
    """Tell a worker what it has to know before its first chunk.

    Attributes:
        token: name of the work: workers of a cluster may have several.
        recipe: the pickled :class:`~monai_semiseg.executors.work.Work`.
        log: file that the worker adds to; empty: the worker's own output.
        environment: variables of the libraries, such as the number of threads.
    """

    token: str
    recipe: bytes
    log: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Opened:
    plan: WorkerPlan
    turn: AbstractContextManager[Any]
    work: Work[Any, Any] | None = None
    function: Callable[[Sequence[Any]], Iterable[Any]] | None = None


_opened: dict[str, _Opened] = {}  # by token: one work, with its network, for each process
_one_at_a_time = threading.Lock()  # a network serves one thread
_stopping = threading.Event()
_thread = threading.local()  # the environment of a worker that is a thread


def begin_worker(plan: WorkerPlan, *, many: bool = False) -> None:
    """Prepare this process; the work is opened by the first chunk, whose error then says why not.

    Args:
        plan: of the worker.
        many: several threads may work at the same time.
    """
    os.environ.update(plan.environment)
    _opened[plan.token] = _Opened(plan, nullcontext() if many else _one_at_a_time)


def begin_process(plan: WorkerPlan) -> None:
    """Prepare a process that is a worker and nothing else: it ends with its coordinator."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ask_to_stop())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin_worker(plan)


def begin_thread(environments: Iterator[Mapping[str, str]]) -> None:
    """Prepare a thread whose items have processes of their own, with the next environment."""
    _thread.environment = next(environments)


def worker_environment() -> dict[str, str]:
    """Return the environment for a process that a worker starts."""
    return {**os.environ, **getattr(_thread, "environment", {})}


def ask_to_stop(stop: bool = True) -> None:
    """Ask the workers of this process to end after the item that is under way."""
    _stopping.set() if stop else _stopping.clear()


def asked_to_stop() -> bool:
    """Return True if the worker should end; work that takes long asks now and then."""
    return _stopping.is_set()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody takes results any more, and another run may write the same files


def end_work(token: str) -> None:
    """Forget a work, and free its network; a chunk that is under way ends after its item."""
    _opened.pop(token, None)


def do_chunk(token: str, items: Sequence[Any], again: bool = False) -> Chunk[Any]:
    """Do items one after the other; an error that ends the work is returned, not raised.

    Args:
        token: name of the work.
        items: for the work's function.
        again: leave out what result files say is finished.
    """
    opened = _opened[token]
    with opened.turn, _logging_to(opened.plan.log):
        try:
            return _do(opened, items, again)
        except Exception as error:  # noqa: BLE001 - the coordinator decides
            _note(error, opened.plan.log)
            return Chunk([], error=_picklable(error), log=opened.plan.log)


def _do(opened: _Opened, items: Sequence[Any], again: bool) -> Chunk[Any]:
    if opened.function is None or opened.work is None:
        opened.work = pickle.loads(opened.plan.recipe)
        opened.function = opened.work.open()
    known = dict(opened.work.finished(items) or {}) if again else {}
    rest = [item for number, item in enumerate(items) if number not in known]
    begun = time.monotonic()
    done: list[Any] = []
    error: Exception | None = None
    try:
        for result in opened.function(rest) if rest else ():
            done.append(result)
            if _stopping.is_set() or opened.plan.token not in _opened:
                break
    except Exception as raised:  # noqa: BLE001 - what was done before it stays done
        _note(raised, opened.plan.log)
        error = _picklable(raised)
    fresh = iter(done)
    merged: list[Any] = []
    with suppress(StopIteration):
        for number in range(len(items)):
            merged.append(known[number] if number in known else next(fresh))
    return Chunk(merged, time.monotonic() - begun, error, opened.plan.log)


class _Log(io.FileIO):
    """File that drops what a full disk does not take.

    Otherwise the error of the log would take the place of the work's own, and of what was done.
    """

    def write(self, data: Any) -> int:
        """Write, or drop; return the number of bytes."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _logging_to(log: str) -> ExitStack:
    """Send what is printed within the block to a file; the terminal belongs to the coordinator."""
    stack = ExitStack()
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        lines = io.TextIOWrapper(_Log(log, "a"), errors="backslashreplace", line_buffering=True)
        stream = stack.enter_context(lines)
        before = faulthandler.is_enabled()
        faulthandler.enable(stream)  # a crash in a library says where
        stack.callback(faulthandler.enable if before else faulthandler.disable)
        stack.enter_context(redirect_stdout(stream))
        stack.enter_context(redirect_stderr(stream))
    return stack


def _note(error: Exception, log: str) -> None:
    """Write the traceback of an error into the worker's log, if it has one."""
    if log:
        traceback.print_exception(error)


def _picklable(error: Exception) -> Exception:
    """Return the error if it survives a pickle, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a foreign class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
