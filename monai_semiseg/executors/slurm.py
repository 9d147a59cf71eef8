"""Jobs of SLURM, through submitit: arrays, logs, and requeueing after preemption and time-out."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submitit import AutoExecutor, Job
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.helpers import DelayedSubmission

from monai_semiseg.errors import ConfigError, ExecutorError, WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import Engine, plan_of, threads_for
from monai_semiseg.executors.work import Chunk, Work
from monai_semiseg.executors.worker import WorkerPlan, begin_worker, do_chunk

_OURS = ("cluster", "jobs", "cases")
_JOBS = 16


@dataclass(frozen=True)
class ChunkJob:
    """Open the work in a job, and do a chunk.

    Attributes:
        plan: of the work.
        again: the job was requeued, and leaves out what result files say is finished.
    """

    plan: WorkerPlan
    again: bool = False

    def __call__(self, items: Sequence[Any]) -> Chunk[Any]:
        """Do the chunk, with all cores of the job."""
        environment = {"OMP_NUM_THREADS": threads_for(1)}
        begin_worker(replace(self.plan, environment=environment))
        return do_chunk(self.plan.token, items, self.again)

    def checkpoint(self, items: Sequence[Any]) -> DelayedSubmission:
        """Return what submitit runs after a preemption or a time-out."""
        return DelayedSubmission(ChunkJob(self.plan, again=True), items)


class SlurmEngine(Engine):
    """Jobs of many items each.

    Settings of the YAML file are those of ``submitit.AutoExecutor.update_parameters``
    (``timeout_min``, ``gpus_per_node``, ``slurm_partition``, ...), and three of our own:
    ``cluster`` (``slurm``, or ``local`` for processes of this machine), ``jobs`` (at a time, 16),
    ``cases`` (most items of a job).

    Args:
        choice: with the settings.
        work: of the jobs.
        logs: folder that the machines share; submitit writes each job's log there.

    Raises:
        ConfigError: If SLURM is not there, or a setting is unknown.
    """

    def __init__(self, choice: ExecutorChoice, work: Work[Any, Any], logs: Path) -> None:
        super().__init__(choice, work, logs)
        self._jobs = int(choice.settings.get("jobs", _JOBS))
        self._share = 0
        self._most = int(choice.settings.get("cases", work.most))
        self._executor = _executor(choice.settings, logs)
        self._job = ChunkJob(plan_of(work))
        self._held: dict[Future[Chunk[Any]], Job[Any]] = {}
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def workers(self) -> int:
        """Return the number of jobs at a time."""
        return self._jobs

    def chunk_size(self, waiting: int, pace: float | None) -> int:
        """Share the items out among all jobs, by what is there at first."""
        self._share = self._share or math.ceil(waiting / self._jobs)
        return min(self._most, self._share)

    def submit(self, items: Sequence[Any]) -> Future[Chunk[Any]]:
        """Submit a job.

        Raises:
            ExecutorError: If SLURM refuses it.
        """
        future: Future[Chunk[Any]] = Future()
        future.set_running_or_notify_cancel()
        try:
            self._held[future] = self._executor.submit(self._job, items)
        except FailedJobError as error:
            raise ExecutorError(
                f"SLURM refuses a job ({'; '.join(str(error).splitlines()) or 'no reason given'})",
                expected="a partition, limits and resources that SLURM allows",
                remedy="see docs/cluster.md, then run the same command; finished work is kept",
            ) from error
        return future

    def _watch(self) -> None:
        while not self._over.wait(0.3):
            for future, job in list(self._held.items()):
                if _has_ended(job):
                    self._held.pop(future, None)
                    with suppress(InvalidStateError):  # it was cancelled meanwhile
                        _settle(future, job)

    def stop(self) -> None:
        """Cancel the jobs, and wait for none of them; what they have finished stays."""
        for future, job in list(self._held.items()):
            self._held.pop(future, None)
            with suppress(Exception):  # it has ended by itself
                job.cancel()
            with suppress(InvalidStateError):
                future.set_exception(WorkerLostError(f"job {job.job_id} was cancelled"))

    def close(self) -> None:
        """Cancel the jobs that are left."""
        self.stop()
        self._over.set()
        self._watcher.join()


def _executor(settings: Mapping[str, Any], logs: Path) -> AutoExecutor:
    parameters = {"name": "monai_semiseg", **settings}
    for name in _OURS:
        parameters.pop(name, None)
    try:
        executor = AutoExecutor(folder=logs, cluster=settings.get("cluster", "slurm"))
        executor.update_parameters(**parameters)
    except (RuntimeError, ValueError, NameError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"--executor slurm: {str(error).splitlines()[0]}",
            expected="a machine that submits jobs of SLURM, and settings that submitit knows",
            remedy="see docs/cluster.md; 'cluster: local' in the YAML tries it without SLURM",
        ) from error
    return executor


def _has_ended(job: Job[Any]) -> bool:
    """Return True if a job has ended; a shared folder that does not answer is asked again."""
    try:
        return bool(job.done())
    except OSError:
        return False


def _settle(future: Future[Chunk[Any]], job: Job[Any]) -> None:
    """Give a job's result to its future."""
    try:
        future.set_result(replace(job.result(), log=str(job.paths.stderr)))
    except UncompletedJobError:
        future.set_exception(
            WorkerLostError(
                f"job {job.job_id} ended in the middle of its work ({job.state})",
                expected="a job that is not cancelled, with enough time and memory",
                path=job.paths.stderr,
            )
        )
    except Exception as error:  # noqa: BLE001 - the coordinator raises it, and else would wait
        future.set_exception(error)
