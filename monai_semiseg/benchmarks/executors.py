"""Throughput of workers, and what a case costs the coordinator at 100,000 cases."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from monai_semiseg.benchmarks.measure import (
    BUNDLES,
    add_output,
    announce,
    as_markdown,
    write_measured,
)
from monai_semiseg.benchmarks.random_images import write_scans
from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.executors.choice import ExecutorChoice, parse_executor
from monai_semiseg.executors.engine import open_engine
from monai_semiseg.executors.run import run_work
from monai_semiseg.executors.work import Work
from monai_semiseg.export.report import CaseResult
from monai_semiseg.inference.team import RunnerRecipe
from monai_semiseg.storage.files import resident_memory


@dataclass(frozen=True)
class NoWork(Work[Case, CaseResult]):
    """Work that gives a result of the usual size at once: what is left is coordination."""

    def open(self) -> Callable[[Sequence[Case]], Iterator[CaseResult]]:
        """Return the function."""
        return self._results

    def _results(self, cases: Sequence[Case]) -> Iterator[CaseResult]:
        for case in cases:
            volumes = {"anterior": 1.5, "posterior": 1.2}
            yield CaseResult(str(case.source), "done", f"{case.id}_seg.nii.gz", volumes_ml=volumes)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and all that it has started."""
    mine = psutil.Process()
    times = [process.cpu_times() for process in (mine, *mine.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def throughput(choice: ExecutorChoice, scans: Path, output: Path) -> tuple[float, float]:
    """Return the scans per second of a folder run, and the CPU seconds of a scan.

    Both are counted from when the workers have their networks: each does some scans before.
    """
    settings = {
        "dataset_dir": str(scans),
        "output_dir": str(output),
        "preview": False,
        "mirror_axes": [],
        "overlap": 0.25,
        "device": "$torch.device('cpu')",
    }
    recipe = RunnerRecipe(BUNDLES / "semisupervised_baselines", settings, (), output)
    (output / "manifest").mkdir(parents=True)
    with (
        find_cases(scans, progress=False) as found,
        open_engine(choice, recipe, output / "logs") as engine,
    ):
        warm = len(found.cases) // 4
        for _ in run_work(engine, found.cases[:warm]):
            pass
        begun = time.perf_counter()
        used = _cpu_seconds()
        done = sum(end.error is None for end in run_work(engine, found.cases[warm:]))
        return done / (time.perf_counter() - begun), (_cpu_seconds() - used) / done


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """Yield a list that holds the largest resident memory of this process in MB."""
    peak = [resident_memory()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], resident_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def coordination(choice: ExecutorChoice, count: int, logs: Path) -> dict[str, float]:
    """Return what a case costs this process, which with Dask holds the scheduler, too.

    Returns:
        ``cpu_ms`` and ``wall_ms`` of a case, and ``kB``: growth of memory over the list of cases,
        per case; ``list_kB``: of the list.
    """
    begun_with = resident_memory()
    names = (f"study_{number // 100}/scan_{number}" for number in range(count))
    cases = [
        Case(n, (Path(f"/data/{n}.nii.gz"),), Path(f"/data/{n}.nii.gz"), "nifti") for n in names
    ]
    with open_engine(choice, NoWork(), logs) as engine, _peak_memory() as peak:
        for _ in run_work(engine, cases[:1000]):  # workers start
            pass
        before = resident_memory()
        peak[0] = before
        wall, cpu = time.perf_counter(), time.process_time()
        done = sum(end.error is None for end in run_work(engine, cases))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if done != count:
            raise RuntimeError(f"{done} of {count} cases came back")
        return {
            "cpu_ms": 1000 * cpu / count,
            "wall_ms": 1000 * wall / count,
            "kB": 1024 * (peak[0] - before) / count,
            "list_kB": 1024 * (before - begun_with) / count,
        }


def main() -> None:
    """Print and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--scans", type=int, default=240, help="of 36 x 50 x 36; 0: no throughput")
    parser.add_argument("--cases", type=int, default=100_000, help="0: no coordination")
    parser.add_argument("--turns", type=int, default=3, help="of each executor (default 3)")
    args = parser.parse_args()
    announce(args.turns * (0.25 * args.scans + 30) + 0.001 * args.cases)
    os.environ["OMP_NUM_THREADS"] = "1"  # of workers: a network of one thread
    if args.scans:
        _measure_throughput(args.scans, args.turns, args.output)
    if args.cases:
        _measure_coordination(args.cases, args.output)


def _measure_throughput(count: int, turns: int, output: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {"local:1": [], "local:2": [], "dask:2": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_scans(root / "scans", count, (36, 50, 36))
        for turn in range(turns):  # they take turns, so that a slow machine affects all
            for name, rates in found.items():
                target = root / f"{name.replace(':', '_')}_{turn}"
                rates.append(throughput(parse_executor(name), root / "scans", target))
    torch.set_num_threads(threads)
    medians = {name: sorted(rates)[turns // 2] for name, rates in found.items()}
    rows = [
        {
            "executor": name,
            "scans_per_s": f"{rate:.2f}",
            "to_local:1": f"{rate / medians['local:1'][0]:.2f}",
            "cpu_s_per_scan": f"{cpu:.3f}",
        }
        for name, (rate, cpu) in medians.items()
    ]
    _show(rows, output / "executors_throughput.csv")


def _measure_coordination(count: int, output: Path) -> None:
    rows = []
    for name in ("local:2", "dask:2"):
        with tempfile.TemporaryDirectory() as folder:
            cost = coordination(parse_executor(name), count, Path(folder))
        row = {"executor": name, "cases": str(count)}
        rows.append(row | {key: f"{value:.3f}" for key, value in cost.items()})
    _show(rows, output / "executors_coordination.csv")


def _show(rows: Sequence[dict[str, str]], path: Path) -> None:
    write_measured(rows, path)
    sys.stdout.write(f"\n{as_markdown(rows)}")


if __name__ == "__main__":
    main()
