"""Time and peak memory of alternative calls, measured in turn in one process."""

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

from monai_semiseg.bundles.locate import shipped_bundles
from monai_semiseg.handlers.precision import processor_name
from monai_semiseg.storage.files import resident_memory
from monai_semiseg.storage.tables import markdown_table, write_table

BUNDLES = shipped_bundles()


@dataclass(frozen=True)
class Row:
    """Measurement of one call.

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
    """Measure every call; the calls take turns, so that a slow machine affects all of them.

    Args:
        ways: name -> call.
        repeat: timed calls, after one to warm up; memory is measured in another call.
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
    # After the times, because this measurement makes allocation slower.
    memory = {name: peak_memory(way) for name, way in ways.items()}
    return [Row(name, sorted(times[name])[repeat // 2], memory[name]) for name in ways]


def peak_memory(way: Callable[[], object]) -> float:
    """Measure the peak memory of a call beyond that before it, MB: resident, or CUDA's on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        way()
        _synchronize()
        return (torch.cuda.max_memory_allocated() - allocated) / 2**20
    _return_memory_at_once()
    before = resident_memory()
    peak = before
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.001):
            peak = max(peak, resident_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    way()
    over.set()
    watcher.join()
    return peak - before


def _return_memory_at_once() -> None:
    """Return every large block to the system when it is freed.

    Resident memory then is the memory in use.
    """
    if platform.system() == "Linux":
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD
        library.malloc_trim(0)


def environment() -> dict[str, str]:
    """Describe the machine and the software of the measurement."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def table(rows: Sequence[Row], reference: str) -> str:
    """Format rows as Markdown, with their ratios to one of them."""
    base = next(row for row in rows if row.name == reference)
    least = 1.0  # MB: a smaller reference gives no useful ratio
    head = ["", "seconds", "MB", f"time / {reference}", f"memory / {reference}"]
    cells = []
    for row in rows:
        time_ratio = f"{row.seconds / base.seconds:.3f}"
        memory_ratio = "-"
        if base.megabytes > least:
            memory_ratio = f"{row.megabytes / base.megabytes:.3f}"
        measured = [f"{row.seconds:.4f}", f"{row.megabytes:.0f}"]
        cells.append([row.name, *measured, time_ratio, memory_ratio])
    return markdown_table(head, cells)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows with the environment as CSV."""
    write_measured(
        [
            {"name": row.name, "seconds": f"{row.seconds:.6f}", "megabytes": f"{row.megabytes:.1f}"}
            for row in rows
        ],
        path,
    )


def as_markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Format rows of equal columns as Markdown."""
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])


def write_measured(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write rows of equal columns with the environment as CSV."""
    around = environment()
    names = [*rows[0], *around]
    write_table(path, names, [[{**row, **around}[name] for name in names] for row in rows])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
