"""Time and memory of ``select`` on made-up scans of the size of hippocampus crops."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from monai_semiseg.benchmarks.measure import (
    add_output,
    announce,
    as_markdown,
    peak_memory,
    write_measured,
)
from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
from monai_semiseg.labelling.selection import select
from monai_semiseg.labelling.strategies import COLD
from monai_semiseg.storage.files import resident_memory

_SHAPE = (36, 50, 36)


def write_scans(folder: Path, count: int) -> None:
    """Write smooth noise, every tenth of it around one of ten common images."""
    rng = np.random.default_rng(0)
    common = [gaussian_filter(rng.normal(size=_SHAPE), 3) for _ in range(10)]
    (folder / "images").mkdir(parents=True)
    for n in range(count):
        own = gaussian_filter(rng.normal(size=_SHAPE), 1)
        voxels = 1000 * (10 * common[n % 10] + own)
        image = nib.Nifti1Image(voxels.astype(np.int16), np.eye(4))
        nib.save(image, folder / "images" / f"scan_{n:05}.nii.gz")


def measure(dataset: ScanDataset, strategy: str, count: int) -> dict[str, object]:
    """Return the seconds of one selection, and the resident memory that it takes at most, MB."""
    before = resident_memory()
    begun = time.perf_counter()
    more = peak_memory(partial(select, dataset, count, strategy=strategy, progress=False))
    seconds = time.perf_counter() - begun
    return {"strategy": strategy, "seconds": f"{seconds:.1f}", "MB": f"{before + more:.0f}"}


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1000, help="made-up scans (default 1000)")
    parser.add_argument("--count", type=int, default=20, help="scans to choose (default 20)")
    parser.add_argument(
        "--strategies",
        default=",".join(COLD),
        help="comma-separated (default all that need no model)",
    )
    add_output(parser)
    args = parser.parse_args()
    strategies = args.strategies.split(",")
    announce(0.02 * args.scans * (1 + len(strategies)))
    with tempfile.TemporaryDirectory() as folder:
        write_scans(Path(folder), args.scans)
        dataset = open_dataset(folder)
        rows = [measure(dataset, strategy, args.count) for strategy in strategies]
    write_measured(rows, args.output / "selection.csv")
    sys.stdout.write(as_markdown(rows))


if __name__ == "__main__":
    main()
