"""An engine: an executor of the standard library's kind, and what a coordinator asks it."""

from __future__ import annotations

import math
import os
import pickle
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_semiseg.errors import WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice, gpus
from monai_semiseg.executors.work import Chunk, Work
from monai_semiseg.executors.worker import WorkerPlan


class Engine(ABC):
    """Do the chunks of one work.

    Args:
        choice: which engine.
        work: that it will do.
        logs: folder for the workers' logs.
    """

    seconds = 4.0  # that a chunk should take

    def __init__(self, choice: ExecutorChoice, work: Work[Any, Any], logs: Path) -> None:
        self.work = work
        self.resubmit = choice.resubmit
        self.logs = logs

    @property
    @abstractmethod
    def workers(self) -> int:
        """Return the number of workers that are there now."""

    @property
    def capacity(self) -> int:
        """Return the number of chunks to hold out at a time."""
        return self.workers

    def chunk_size(self, waiting: int, pace: float | None) -> int:
        """Return how many items to give to a worker: little at first and at the end.

        Args:
            waiting: number of items that are left.
            pace: seconds for an item; None before it is known.
        """
        if pace is None:
            return 1
        fair = math.ceil(waiting / (2 * max(1, self.workers)))
        return min(round(self.seconds / max(pace, 1e-6)), fair)

    @abstractmethod
    def submit(self, items: Sequence[Any]) -> Future[Chunk[Any]]:
        """Give a chunk to a worker.

        Raises:
            ExecutorError: If the engine has ended.
        """

    def lost(self, error: BaseException) -> WorkerLostError | None:
        """Return how a worker ended, if that is what an error of a future says; else None."""
        if isinstance(error, WorkerLostError):
            return error
        if isinstance(error, CancelledError):
            return WorkerLostError("its work was cancelled")
        return None

    @abstractmethod
    def stop(self) -> None:
        """Ask the workers to end after the item that is under way."""

    @abstractmethod
    def close(self) -> None:
        """End the workers."""


@contextmanager
def open_engine(choice: ExecutorChoice, work: Work[Any, Any], logs: Path) -> Iterator[Engine]:
    """Open an engine, and close it after the block.

    Args:
        choice: which one.
        work: that it will do.
        logs: folder for the workers' logs; shared by all machines.

    Raises:
        ConfigError: If it cannot be opened: nobody answers at the address, SLURM is not there, or a
            setting is unknown.
    """
    engine = _opener(choice)(choice, work, logs)
    try:
        yield engine
    finally:
        engine.close()


def _opener(choice: ExecutorChoice) -> type[Engine]:
    if choice.kind == "slurm":
        from monai_semiseg.executors.slurm import SlurmEngine

        return SlurmEngine
    if choice.kind == "dask":
        from monai_semiseg.executors.dask_engine import DaskEngine

        return DaskEngine
    from monai_semiseg.executors.local import LocalEngine

    return LocalEngine


def plan_of(work: Work[Any, Any], log: str = "") -> WorkerPlan:
    """Return what every worker of a work has to know."""
    return WorkerPlan(uuid.uuid4().hex, pickle.dumps(work), log)


def shared_out(work: Work[Any, Any], number: int, workers: int) -> Mapping[str, str]:
    """Return the environment of one of several workers of a machine: its cores and its GPU.

    Args:
        work: with ``auto`` as its device it gets the GPUs shared out.
        number: of the worker, from 0.
        workers: of this machine.
    """
    found = {"OMP_NUM_THREADS": threads_for(workers)}
    if workers > 1 and work.device == "auto" and len(names := gpus()) > 1:
        found["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
    return found


def threads_for(workers: int) -> str:
    """Return the number of threads of one of several workers of a machine.

    OMP_NUM_THREADS is kept where it is set.
    """
    return os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // workers)))


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
