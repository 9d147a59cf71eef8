"""Processes of this machine; a worker that ends breaks its own work and no other's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from monai_semiseg.errors import WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import Engine, plan_of, shared_out
from monai_semiseg.executors.work import Chunk, Work
from monai_semiseg.executors.worker import (
    WorkerPlan,
    ask_to_stop,
    begin_process,
    begin_thread,
    begin_worker,
    do_chunk,
    end_work,
)

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class SlotExecutor(Executor):
    """Executor with a process pool of one for each slot.

    ``ProcessPoolExecutor`` of several workers breaks as a whole when one of them is killed, and the
    work of the others is lost with it. Here a thread waits for each process, and starts the next
    one.

    Args:
        plans: of the workers.
    """

    def __init__(self, plans: Sequence[WorkerPlan]) -> None:
        self._plans = plans
        self._numbers = count()
        self._mine = threading.local()
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._pids: dict[int, int] = {}
        self._closing = False
        self._threads = ThreadPoolExecutor(len(plans), "slot", initializer=self._take_slot)

    def _take_slot(self) -> None:
        self._mine.number = next(self._numbers)

    def submit(
        self,
        fn: Callable[Arguments, Value],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Value]:
        """Call a function in a free process; WorkerLostError if that process ends."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def _call(self, fn: Callable[..., Value], args: Any, kwargs: Any) -> Value:
        number = self._mine.number
        plan = self._plans[number]
        try:
            self._require_open()
            pool = self._pool(number, plan)
            self._require_open()  # while the process began, it was not among those to end
            return pool.submit(fn, *args, **kwargs).result()
        except BrokenProcessPool as error:
            self._pools.pop(number).shutdown()
            pid = self._pids.pop(number, None)
            raise WorkerLostError(
                f"worker {number + 1} (process {pid}) ended in the middle of its work",
                expected="a process that is not killed, and enough memory",
                path=plan.log,
            ) from error

    def _require_open(self) -> None:
        if self._closing:
            raise WorkerLostError("the run ends")

    def _pool(self, number: int, plan: WorkerPlan) -> ProcessPoolExecutor:
        if number not in self._pools:
            # No fork: torch's threads do not survive it.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, context, begin_process, (plan,))
            self._pools[number] = pool
            self._pids[number] = pool.submit(os.getpid).result()
        return self._pools[number]

    def pids(self) -> list[int]:
        """Return the numbers of the processes that are there."""
        return list(self._pids.values())

    def terminate(self) -> None:
        """Ask the processes to end after the item that is under way."""
        self._closing = True
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads, then their processes."""
        self._closing = self._closing or cancel_futures
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for pool in list(self._pools.values()):
            pool.shutdown(wait)


class LocalEngine(Engine):
    """Workers on this machine: processes, or threads of this one.

    A single worker is a thread, and so are those whose items have processes of their own.
    """

    def __init__(self, choice: ExecutorChoice, work: Work[Any, Any], logs: Path) -> None:
        super().__init__(choice, work, logs)
        self._workers = choice.worker_count()
        plan = plan_of(work)
        self._token = plan.token
        self._slots: SlotExecutor | None = None
        self._executor: Executor
        shares = [shared_out(work, number, self._workers) for number in range(self._workers)]
        if work.starts_processes or self._workers == 1:
            begin_worker(plan, many=work.starts_processes)
            arguments = (iter(shares),)
            self._executor = ThreadPoolExecutor(self._workers, "worker", begin_thread, arguments)
        else:
            names = [str(logs / f"worker_{number + 1}.txt") for number in range(self._workers)]
            self._executor = self._slots = SlotExecutor(
                [
                    replace(plan, log=name, environment=share)
                    for name, share in zip(names, shares, strict=True)
                ]
            )

    @property
    def workers(self) -> int:
        """Return the number of workers."""
        return self._workers

    def submit(self, items: Sequence[Any]) -> Future[Chunk[Any]]:
        """Give a chunk to a worker."""
        return self._executor.submit(do_chunk, self._token, items)

    def stop(self) -> None:
        """Ask the workers to end after the item that is under way."""
        if self._slots is not None:
            self._slots.terminate()
        else:
            ask_to_stop()

    def close(self) -> None:
        """End the workers."""
        self.stop()
        self._executor.shutdown(cancel_futures=True)
        ask_to_stop(False)
        end_work(self._token)
