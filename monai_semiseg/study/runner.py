"""Run the cells of a study: in parallel, resumable, one bar over all."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from monai_semiseg.storage.lock import WorkLock
from monai_semiseg.study.cell import Job, child_environment
from monai_semiseg.study.provenance import package_code


@dataclass
class Outcome:
    """How a run of the study ended.

    Attributes:
        failed: cell id -> last line of its log.
        elsewhere: cells that another process works on.
    """

    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


class _Running:
    """A cell's processes, one after the other."""

    def __init__(self, job: Job, lock: WorkLock, environment: dict[str, str]) -> None:
        self.job, self.lock, self.environment = job, lock, environment
        self.begun, self.before = time.monotonic(), job.progress()
        self.commands = job.commands()
        job.begin(package_code())
        self.log: IO[bytes] = (job.folder / "log.txt").open("ab")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.commands.pop(0),
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=self.environment,
        )
        self.lock.note_child(process.pid)
        return process

    def poll(self) -> int | None:
        """The exit code once all is over, else None."""
        code = self.process.poll()
        if code == 0 and self.commands:
            self.process = self._start()
            return None
        if code == 0:
            done = self.job.iterations - self.before
            self.job.finish((time.monotonic() - self.begun) / done if done else None)
        return code

    def close(self) -> None:
        """End the process if it runs, close the log, let others in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.lock.release()


def run_cells(
    jobs: Sequence[Job], *, parallel: int = 1, progress: bool = True, interval: float = 0.5
) -> Outcome:
    """Run all cells that are not finished; a cell that fails does not stop the others.

    Killed at any moment, the same call goes on where it stopped: finished cells are kept, and a
    training continues from its last checkpoint.

    Args:
        jobs: cells.
        parallel: how many at a time.
        progress: show a bar over the iterations of all cells.
        interval: seconds between two looks.

    Raises:
        ConfigError: If a cell's folder holds the work of another configuration.
    """
    for job in jobs:
        job.claim()
    outcome, waiting, running = Outcome(), [job for job in jobs if not job.done], list[_Running]()
    total = sum(job.iterations for job in jobs)
    environment = child_environment(parallel)
    bar: Any = tqdm(
        total=total, desc="Study", unit="it", dynamic_ncols=True, disable=None if progress else True
    )
    try:
        with bar:
            while waiting or running:
                while len(running) < parallel and (ready := _next(waiting, running)) is not None:
                    waiting.remove(ready)
                    _begin(ready, jobs, running, outcome, environment)
                _look_after(running, outcome)
                bar.update(sum(job.progress() for job in jobs) - bar.n)
                bar.set_postfix_str(", ".join(one.job.cell.id for one in running), refresh=False)
                if running:
                    time.sleep(interval)
    finally:
        for one in running:
            one.close()
    return outcome


def _next(waiting: Sequence[Job], running: Sequence[_Running]) -> Job | None:
    """The first cell that has nothing to gain from waiting for one that runs."""
    return next(
        (job for job in waiting if not any(job.waits_for(one.job) for one in running)), None
    )


def _begin(
    job: Job,
    jobs: Sequence[Job],
    running: list[_Running],
    outcome: Outcome,
    environment: dict[str, str],
) -> None:
    lock = WorkLock(job.folder / "lock")
    if not lock.acquire():
        outcome.elsewhere.append(job.cell.id)
    elif job.done:  # finished by another process between the listing and the lock
        lock.release()
    else:
        job.adopt(jobs)
        running.append(_Running(job, lock, environment))


def _look_after(running: list[_Running], outcome: Outcome) -> None:
    for one in list(running):
        code = one.poll()
        one.lock.touch()
        if code is not None:
            if code != 0:
                outcome.failed[one.job.cell.id] = last_line(one.job.folder / "log.txt")
            one.close()
            running.remove(one)


def last_line(log: Path) -> str:
    """The last line that says something."""
    lines = [
        line.strip()
        for line in log.read_text(errors="replace").replace("\r", "\n").splitlines()
        if line.strip()
    ]
    return next(
        (line for line in reversed(lines) if line.startswith("E_")),
        lines[-1] if lines else "no output",
    )
