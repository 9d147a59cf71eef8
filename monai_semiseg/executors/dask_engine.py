"""Tasks of Dask: a scheduler somewhere, or one of our own on this machine."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin
from distributed import Future as Task
from distributed.scheduler import KilledWorker

from monai_semiseg.errors import ConfigError, ExecutorError, WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice, gpus
from monai_semiseg.executors.engine import Engine, cores, plan_of, threads_for
from monai_semiseg.executors.work import Chunk, Work
from monai_semiseg.executors.worker import WorkerPlan, begin_worker, do_chunk, end_work

_ANSWER = 10  # seconds to wait for a scheduler


class WorkPlugin(WorkerPlugin):
    """Plugin that tells every worker, also one that joins later, what its work is.

    The network is loaded by a worker's first chunk, once.

    Args:
        plan: of the work.
        logs: folder for the workers' logs.
        names: of GPUs to share out among the workers of our own scheduler, which have numbers.
    """

    def __init__(self, plan: WorkerPlan, logs: Path, names: Sequence[str] = ()) -> None:
        self.plan = plan
        self.logs = logs
        self.names = list(names)
        self.name = f"monai_semiseg-{plan.token}"

    def setup(self, worker: Worker) -> None:
        """Prepare a worker."""
        environment = dict(self.plan.environment)
        if self.names and isinstance(worker.name, int):
            environment["CUDA_VISIBLE_DEVICES"] = self.names[worker.name % len(self.names)]
        log = str(log_of(self.logs, worker.name, worker.address))
        begin_worker(replace(self.plan, log=log, environment=environment))

    def teardown(self, worker: Worker) -> None:
        """Free the worker's network."""
        end_work(self.plan.token)


def log_of(logs: Path, name: object, address: str) -> Path:
    """Return the log of a worker, named as the scheduler's pages name the worker."""
    words = str(name) if str(name) == address else f"{name} {address}"
    cleaned = re.sub(r"[^\w.]+", "_", words)
    return logs / f"worker_{cleaned}.txt"


class DaskEngine(Engine):
    """Chunks as tasks; workers may come and go.

    If workers declare ``GPU`` among their resources, each task takes one.

    Args:
        choice: with an address, or a number of workers.
        work: of the tasks.
        logs: folder that all machines share.

    Raises:
        ConfigError: If nobody answers at the address.
    """

    def __init__(self, choice: ExecutorChoice, work: Work[Any, Any], logs: Path) -> None:
        super().__init__(choice, work, logs)
        names = gpus() if work.device == "auto" and not choice.address else []
        self._cluster = None if choice.address else _cluster(choice, names)
        self._client = _connected(choice.address or self._cluster)
        self._address = self._client.scheduler.address
        self._plugin = WorkPlugin(plan_of(work), logs, names)
        self._client.register_plugin(self._plugin)
        self._needs: dict[str, Any] = {"resources": {"GPU": 1}} if self._have_gpus() else {}
        self._tasks: dict[Future[Chunk[Any]], Task] = {}  # Dask forgets what nobody holds

    def _have_gpus(self) -> bool:
        found = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return any("GPU" in worker.get("resources", {}) for worker in found)

    @property
    def workers(self) -> int:
        """Return the number of workers that are there now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    @property
    def capacity(self) -> int:
        """Return one chunk for each worker: one that waits at a worker is lost with it.

        Otherwise an item that kills its workers takes the chunks of others with it.
        """
        return max(1, self.workers)

    def submit(self, items: Sequence[Any]) -> Future[Chunk[Any]]:
        """Submit a task.

        Raises:
            ExecutorError: If the scheduler has ended.
        """
        self._require_scheduler()
        token = self._plugin.plan.token
        # Work writes files: an equal call is not the same call.
        task = self._client.submit(do_chunk, token, items, pure=False, **self._needs)
        future: Future[Chunk[Any]] = Future()
        self._tasks[future] = task
        task.add_done_callback(partial(self._settle, future))
        return future

    def _settle(self, future: Future[Chunk[Any]], task: Task) -> None:
        """Pass a task's end on, in a thread of Dask.

        Dask's own executor has no limit of time here: a worker that ends between its result and
        the reading of it can leave Dask waiting for ever.
        """
        self._tasks.pop(future, None)
        try:
            chunk = task.result(timeout=_ANSWER)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the coordinator raises it
            future.set_exception(error)
        else:
            future.set_result(chunk)

    def _require_scheduler(self) -> None:
        if self._client.status != "running":
            raise ExecutorError(
                f"the Dask scheduler at {self._address} has ended",
                expected="a scheduler that runs until the work is done",
                remedy="start the scheduler again, then the same command; finished work is kept",
            )

    def lost(self, error: BaseException) -> WorkerLostError | None:
        """Return how a worker ended, if that is what an error says.

        Raises:
            ExecutorError: If it is the scheduler that has ended.
        """
        if isinstance(error, CancelledError):
            self._require_scheduler()
        if isinstance(error, TimeoutError):
            return WorkerLostError("a worker ended before its results were read")
        if not isinstance(error, KilledWorker):
            return super().lost(error)
        last = error.last_worker
        return WorkerLostError(
            f"worker {last.name} at {last.address} ended in the middle of its work",
            expected="a worker that is not killed, and enough memory",
            path=log_of(self.logs, last.name, last.address),
        )

    def stop(self) -> None:
        """Take back the tasks that have not begun; those that have end by themselves."""
        with suppress(Exception):  # the scheduler may have ended
            self._client.cancel(list(self._tasks.values()))

    def close(self) -> None:
        """Leave the scheduler, and end it if it is our own."""
        self.stop()
        if self._client.status == "running":
            with suppress(Exception):
                self._client.unregister_worker_plugin(self._plugin.name)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _cluster(choice: ExecutorChoice, names: Sequence[str]) -> LocalCluster:
    """Start a scheduler and workers on this machine: one for each GPU, or for each core."""
    count = choice.workers or len(names) or cores()
    more = {"resources": {"GPU": 1}} if names else {}
    settings = {
        # It reports a lost worker at once: how often to go on is ours to count.
        "distributed.scheduler.allowed-failures": 0,
        # Else workers give each array's memory back at once, and ask for it again.
        "distributed.nanny.pre-spawn-environ": {},
        # Workers and scheduler share the cores with the work: nobody looks at these figures.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.scheduler.work-stealing": False,  # a worker has one chunk: nothing to steal
    }
    with dask.config.set(settings):
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            env={"OMP_NUM_THREADS": threads_for(count)},
            **more,
        )


def _connected(where: str | LocalCluster) -> Client:
    try:
        return Client(where, timeout=_ANSWER)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"--executor dask:{where}: {str(error).splitlines()[0] if str(error) else 'no answer'}",
            expected="a Dask scheduler that answers there, as tcp://HOST:8786",
            remedy="start it with 'dask scheduler', or leave the address out",
        ) from error
