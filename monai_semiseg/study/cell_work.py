"""What a worker does with a cell: run its commands, one after the other, in their own processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from monai_semiseg.errors import WorkerLostError
from monai_semiseg.executors.owner import owned_environment
from monai_semiseg.executors.work import Work
from monai_semiseg.executors.worker import asked_to_stop, worker_environment
from monai_semiseg.study.attempt import Attempt
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.commands import cell_commands
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.provenance import package_code


@dataclass(frozen=True)
class CellEnd:
    """Record how a cell ended.

    Attributes:
        failure: last line of its log, if its commands failed.
        elsewhere: another process works on it.
    """

    failure: str = ""
    elsewhere: bool = False


@dataclass(frozen=True)
class CellWork(Work[CellSpec, CellEnd]):
    """Run of cells; ``cell.json`` says that one is finished.

    Attributes:
        asked_device: of the study: ``auto``, ``cpu`` or ``cuda:N``.
        commands: of a cell.
        interval: seconds between two looks at a process.
    """

    most: ClassVar[int] = 1
    starts_processes: ClassVar[bool] = True

    asked_device: str = "cpu"
    commands: Callable[[CellSpec], list[list[str]]] = cell_commands
    interval: float = 0.5

    @property
    def device(self) -> str:
        """Return ``auto`` if the workers of a machine may share its GPUs out."""
        return self.asked_device

    def open(self) -> Callable[[Sequence[CellSpec]], Iterator[CellEnd]]:
        """Return the function that runs cells."""
        return self._run

    def finished(self, items: Sequence[CellSpec]) -> Mapping[int, CellEnd]:
        """Return the cells that have their ``cell.json``."""
        return {n: CellEnd() for n, spec in enumerate(items) if CellOutcome(spec).done}

    def _run(self, specs: Sequence[CellSpec]) -> Iterator[CellEnd]:
        for spec in specs:
            end = CellEnd() if CellOutcome(spec).done else self._run_cell(spec)
            if end is None:
                return
            yield end

    def _run_cell(self, spec: CellSpec) -> CellEnd | None:
        """Run a cell's commands; None if the worker was asked to stop.

        Raises:
            WorkerLostError: If a process was killed.
        """
        outcome = CellOutcome(spec)
        attempt = Attempt(spec.folder)
        attempt.begin()
        before = outcome.progress()
        begun = time.monotonic()
        outcome.begin(package_code())
        try:
            end = self._run_commands(spec, attempt)
        finally:
            attempt.close()
        if end == CellEnd():
            # After the record is gone: a finished cell is never looked at again.
            iterations = spec.iterations - before
            outcome.finish((time.monotonic() - begun) / iterations if iterations else None)
        return end

    def _run_commands(self, spec: CellSpec, attempt: Attempt) -> CellEnd | None:
        """Run a cell's commands one after another; None if the worker was asked to stop."""
        with log_of(spec).open("ab") as log:
            for command in self.commands(spec):
                code = self._run_command(command, log, attempt)
                if not attempt.is_newest:  # it may also have ended our process
                    return CellEnd(elsewhere=True)
                if code is None:
                    return None
                if code < 0:
                    raise _killed(spec, -code)
                if code > 0:
                    return CellEnd(last_line(log_of(spec)))
        return CellEnd()

    def _run_command(self, command: Sequence[str], log: IO[bytes], attempt: Attempt) -> int | None:
        """Run a command to its end; return its exit code, or None if it was ended before."""
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**worker_environment(), **owned_environment()},
        )
        try:
            attempt.works_by(process.pid)
            while attempt.is_newest and not asked_to_stop():
                try:
                    return process.wait(self.interval)
                except subprocess.TimeoutExpired:
                    continue
            return None
        finally:
            process.kill()
            process.wait()


def _killed(spec: CellSpec, signal_number: int) -> WorkerLostError:
    return WorkerLostError(
        f"its process was killed (signal {signal_number})",
        expected="a process that is not killed, and enough memory",
        path=log_of(spec),
    )


def log_of(spec: CellSpec) -> Path:
    """Return the log of a cell's processes."""
    return spec.folder / "log.txt"


def last_line(log: Path) -> str:
    """Return the last line of a log that holds an error code, else the last that is not empty."""
    text = log.read_text(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E_")]
    if errors:
        return errors[-1]
    return lines[-1] if lines else "no output"
