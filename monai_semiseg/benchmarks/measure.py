"""Time and peak memory of competing ways to do one thing, in turn, in one process."""

from __future__ import annotations

import argparse
import ctypes
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from monai_semiseg.handlers.precision import processor_name
from monai_semiseg.storage.files import resident_memory
from monai_semiseg.storage.tables import write_table

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


@dataclass(frozen=True)
class Row:
    """One way, measured.

    Attributes:
        name: of the way.
        seconds: median of the repetitions.
        megabytes: peak memory beyond what was there before the call.
    """

    name: str
    seconds: float
    megabytes: float


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare where a benchmark's files go."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/benchmarks"),
        help="folder for CSV files (default: runs/benchmarks, from where you are)",
    )


def announce(seconds: float) -> None:
    """Say before the work how long it takes, so that nobody waits for more than they want.

    Args:
        seconds: that it took on two cores of an AMD EPYC of the fifth generation, beside nothing.
    """
    sys.stderr.write(f"about {max(1, round(seconds / 60))} min on 2 quick CPU cores\n")


def compare(ways: Mapping[str, Callable[[], object]], repeat: int = 5) -> list[Row]:
    """Measure every way; the ways take turns, so that a slow moment of the machine meets all of them.

    Args:
        ways: name -> call.
        repeat: timed turns, after one that warms up; memory is measured in another one.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            _synchronize()
            times[name].append(time.perf_counter() - start)
    memory = {
        name: peak_memory(way) for name, way in ways.items()
    }  # after the times: it makes allocation slower
    return [Row(name, sorted(times[name])[repeat // 2], memory[name]) for name in ways]


def peak_memory(way: Callable[[], object]) -> float:
    """Megabytes that a call needs at its worst moment beyond what was taken before: resident on a CPU, else CUDA's."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        way()
        _synchronize()
        return (torch.cuda.max_memory_allocated() - allocated) / 2**20
    _return_memory_at_once()
    before, worst, over = resident_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            worst[0] = max(worst[0], resident_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    way()
    over.set()
    watcher.join()
    return max(0.0, worst[0] - before)


def _return_memory_at_once() -> None:
    """Let every large block go back to the system when it is freed, so that resident memory is what is in use."""
    if platform.system() == "Linux":
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD
        library.malloc_trim(0)


def environment() -> dict[str, str]:
    """What the numbers were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
    return {
        "device": device,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def table(rows: Sequence[Row], reference: str) -> str:
    """Rows as Markdown, with their ratios to one of them."""
    base = next(row for row in rows if row.name == reference)
    least = 1.0  # MB: below it there is no ratio to speak of
    lines = [
        f"| | seconds | MB | time / {reference} | memory / {reference} |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        share = f"{row.megabytes / base.megabytes:.3f}" if base.megabytes > least else "-"
        lines.append(
            f"| {row.name} | {row.seconds:.4f} | {row.megabytes:.0f} | {row.seconds / base.seconds:.3f} | {share} |"
        )
    return "\n".join(lines) + "\n"


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Rows with the environment, as CSV."""
    write_measured(
        [
            {"name": row.name, "seconds": f"{row.seconds:.6f}", "megabytes": f"{row.megabytes:.1f}"}
            for row in rows
        ],
        path,
    )


def write_measured(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Rows of one set of columns, with the environment, as CSV."""
    around = environment()
    names = [*rows[0], *around]
    write_table(path, names, [[{**row, **around}[name] for name in names] for row in rows])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
