"""Cost of a folder run, against the network alone and against the plain MONAI loop."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from monai.bundle import ConfigWorkflow
from pydicom.uid import generate_uid

from monai_semiseg.benchmarks.fuzz import dicom
from monai_semiseg.benchmarks.inference_ways import (
    Way,
    photograph_ways,
    plain_loop,
    usual_postprocessing,
    ways_of,
)
from monai_semiseg.benchmarks.measure import BUNDLES, Row, add_output, announce, table, write_csv
from monai_semiseg.benchmarks.random_images import (
    photograph_settings,
    write_photographs,
    write_scans,
)
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.discover import find_cases


def opened(bundle: Path, scans: Path, output: Path, settings: dict[str, Any]) -> ConfigWorkflow:
    """Open the bundle's inference, ready to run."""
    where = {"dataset_dir": str(scans), "output_dir": str(output), "device": "$torch.device('cpu')"}
    workflow = open_workflow(bundle, "inference", {**where, **settings})
    workflow.initialize()
    return workflow


def compare(
    bundle: Path,
    scans: Path,
    ways: Mapping[str, tuple[Way, dict[str, Any]]],
    settings: dict[str, Any],
    root: Path,
    repeat: int = 1,
) -> list[Row]:
    """Measure median seconds of each run over the same scans, and memory growth.

    Memory is measured over the second half of a run. The runs take turns, so that a slow machine
    affects all of them.
    """
    seconds: dict[str, list[float]] = {}
    growth: dict[str, float] = {}
    for turn in range(repeat):
        for name, (make, more) in ways.items():
            folder = root / str(turn) / name.replace(" ", "_")
            if make is plain_loop:
                more = {"postprocessing": usual_postprocessing(folder)}
            way = make(opened(bundle, scans, folder, {**settings, **more}))
            begun = time.perf_counter()
            memory = way()
            seconds.setdefault(name, []).append(time.perf_counter() - begun)
            growth[name] = memory[-1] - memory[len(memory) // 2] if memory else 0.0
    return [Row(name, median(times), growth[name]) for name, times in seconds.items()]


def discovery(files: int, root: Path) -> Row:
    """Measure the seconds to find the series of ``files`` DICOM files.

    There are a hundred files to a folder, 25 series each.
    """
    template = list(dicom(np.random.default_rng(0)).values())
    written = 0
    series = generate_uid(entropy_srcs=["s"]).encode()
    for number in range(files // 4):
        folder = root / f"study{number // 25:05}"
        folder.mkdir(parents=True, exist_ok=True)
        for content in template:
            named = content.replace(series, series[:-6] + f"{number:06}".encode())
            (folder / f"{written:06}.dcm").write_bytes(named)
            written += 1
    begun = time.perf_counter()
    with find_cases([str(root)], progress=False) as found:
        seconds = time.perf_counter() - begun
        if len(found.cases) != files // 4:
            raise RuntimeError(f"found {len(found.cases)} series instead of {files // 4}")
    return Row(f"{written} DICOM files, {files // 4} series", seconds, 0.0)


def measure_scans(
    bundle: Path, name: str, count: int, shape: Sequence[int], repeat: int, output: Path
) -> None:
    """Print and write the table of a folder of scans."""
    plain = {"mirror_axes": [], "overlap": 0.25}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_scans(root / "scans", count, shape)
        rows = compare(bundle, root / "scans", ways_of(), plain, root, repeat)
    _show(rows, "network alone", f"{count} scans of {shape}", output / f"inference_{name}.csv")


def measure_photographs(bundle: Path, count: int, repeat: int, output: Path) -> None:
    """Print and write the table of a folder of photographs."""
    shape = (512, 384)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photographs(root / "scans", count, shape)
        settings = photograph_settings(root)
        rows = compare(bundle, root / "scans", photograph_ways(), settings, root, repeat)
    words = f"{count} photographs of {shape}"
    _show(rows, "decoding and network", words, output / "inference_photographs.csv")


def _show(rows: Sequence[Row], reference: str, words: str, path: Path) -> None:
    write_csv(rows, path)
    sys.stdout.write(
        f"\n{words}; MB: growth over the second half of the run\n{table(rows, reference)}"
    )


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLES / "semisupervised_baselines")
    add_output(parser)
    parser.add_argument("--small", type=int, default=100, help="scans of 36 x 50 x 36")
    parser.add_argument("--large", type=int, default=4, help="scans of 256 x 256 x 128")
    parser.add_argument("--photographs", type=int, default=100, help="of 512 x 384, in colour")
    parser.add_argument("--files", type=int, default=10_000, help="DICOM files")
    parser.add_argument("--repeat", type=int, default=3, help="turns of the small images")
    args = parser.parse_args()
    ways = len(ways_of())
    announce(
        ways * (0.09 * args.repeat * args.small + 8 * args.large)
        + 0.4 * args.repeat * args.photographs
        + 0.003 * args.files
    )
    for name, count, shape, turns in (
        ("small", args.small, (36, 50, 36), args.repeat),
        ("large", args.large, (256, 256, 128), 1),
    ):
        if count:
            measure_scans(args.bundle, name, count, shape, turns, args.output)
    if args.photographs:
        measure_photographs(args.bundle, args.photographs, args.repeat, args.output)
    if args.files:
        with tempfile.TemporaryDirectory() as folder:
            row = discovery(args.files, Path(folder))
        write_csv([row], args.output / "discovery.csv")
        sys.stdout.write(f"\n{row.name}: {row.seconds:.1f} s\n")


if __name__ == "__main__":
    main()
