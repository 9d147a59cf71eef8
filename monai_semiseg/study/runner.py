"""Run of a study's cells: in parallel, resumable, one progress bar over all."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from monai_semiseg.storage.lock import WorkLock
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.commands import cell_commands, cell_environment
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.provenance import package_code
from monai_semiseg.study.shared_training import import_weights, should_wait_for


@dataclass
class RunOutcome:
    """The end of a study's run.

    Attributes:
        failed: cell -> last line of its log, and the log.
        elsewhere: cells that another process works on.
    """

    failed: dict[str, tuple[str, Path]] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def _remove_stale_lock(spec: CellSpec) -> None:
    """Remove the lock of a process that was killed after it had finished the cell."""
    lock = WorkLock(spec.folder / "lock")
    if lock.path.exists() and lock.acquire():
        lock.release()


class _RunningCell:
    """The processes of one cell, one after the other."""

    def __init__(
        self,
        spec: CellSpec,
        lock: WorkLock,
        commands: list[list[str]],
        environment: dict[str, str],
    ) -> None:
        self.spec = spec
        self.lock = lock
        self.commands = commands
        self.environment = environment
        self.outcome = CellOutcome(spec)
        self.started_at = time.monotonic()
        self.started_with = self.outcome.progress()
        self.outcome.begin(package_code())
        self.log: IO[bytes] = (spec.folder / "log.txt").open("ab")
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
        """Start the next process if one has ended; return the exit code once all have."""
        code = self.process.poll()
        if code == 0 and self.commands:
            self.process = self._start()
            return None
        if code == 0:
            iterations = self.spec.iterations - self.started_with
            seconds = time.monotonic() - self.started_at
            self.outcome.finish(seconds / iterations if iterations else None)
        return code

    def close(self) -> None:
        """End the process if it runs, close the log, and release the lock."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.lock.release()


class _Scheduler:
    """The cells that wait and those that run.

    Attributes:
        outcome: cells that failed, or that other processes run.
        waiting: cells that have not begun, in order.
        running: cells that run.
    """

    def __init__(
        self,
        specs: Sequence[CellSpec],
        commands: Callable[[CellSpec], list[list[str]]],
        parallel: int,
    ) -> None:
        self.specs = specs
        self.commands = commands
        self.parallel = parallel
        self.environment = cell_environment(parallel)
        self.outcome = RunOutcome()
        self.waiting = [spec for spec in specs if not CellOutcome(spec).done]
        for spec in specs:
            if CellOutcome(spec).done:
                _remove_stale_lock(spec)
        self.running: list[_RunningCell] = []

    def step(self) -> None:
        """Start cells while there is room, and close those that have ended."""
        while len(self.running) < self.parallel:
            spec = self._next()
            if spec is None:
                break
            self.waiting.remove(spec)
            self._start(spec)
        for cell in list(self.running):
            self._check(cell)

    def _next(self) -> CellSpec | None:
        """Return the first cell that no running one trains something for."""
        for spec in self.waiting:
            if not any(should_wait_for(spec, cell.spec) for cell in self.running):
                return spec
        return None

    def _start(self, spec: CellSpec) -> None:
        lock = WorkLock(spec.folder / "lock")
        if not lock.acquire():
            self.outcome.elsewhere.append(spec.name)
        elif CellOutcome(spec).done:  # another process has finished it before the lock was taken
            lock.release()
        else:
            import_weights(spec, self.specs)
            cell = _RunningCell(spec, lock, self.commands(spec), self.environment)
            self.running.append(cell)

    def _check(self, cell: _RunningCell) -> None:
        code = cell.poll()
        cell.lock.touch()
        if code is None:
            return
        if code != 0:
            log = cell.spec.folder / "log.txt"
            self.outcome.failed[cell.spec.name] = (last_line(log), log)
        cell.close()
        self.running.remove(cell)

    def close(self) -> None:
        """End all processes."""
        for cell in self.running:
            cell.close()


def run_cells(
    specs: Sequence[CellSpec],
    *,
    parallel: int = 1,
    progress: bool = True,
    interval: float = 0.5,
    commands: Callable[[CellSpec], list[list[str]]] = cell_commands,
) -> RunOutcome:
    """Run all cells that are not finished; a cell that fails does not stop the others.

    If the run is killed, the same call resumes it: finished cells are kept, and a training
    continues from its last checkpoint.

    Args:
        specs: cells.
        parallel: number of cells that run at the same time.
        progress: show a bar over the iterations of all cells.
        interval: seconds between two checks of the processes.
        commands: the commands of a cell.

    Raises:
        ConfigError: If a cell's folder holds the work of another configuration.
    """
    outcomes = [CellOutcome(spec) for spec in specs]
    for outcome in outcomes:
        outcome.claim()
    total = sum(spec.iterations for spec in specs)
    bar: Any = tqdm(
        total=total, desc="Study", unit="it", dynamic_ncols=True, disable=None if progress else True
    )
    scheduler = _Scheduler(specs, commands, parallel)
    try:
        with bar:
            while scheduler.waiting or scheduler.running:
                scheduler.step()
                bar.update(sum(outcome.progress() for outcome in outcomes) - bar.n)
                names = ", ".join(cell.spec.name for cell in scheduler.running)
                bar.set_postfix_str(names, refresh=False)
                if scheduler.running:
                    time.sleep(interval)
    finally:
        scheduler.close()
    return scheduler.outcome


def last_line(log: Path) -> str:
    """Return the last line of a log that holds an error code, else the last that is not empty."""
    text = log.read_text(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E_")]
    if errors:
        return errors[-1]
    return lines[-1] if lines else "no output"
