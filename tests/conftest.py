"""What tests of several folders share."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

# Scans in every format, whose voxels say where they lie; a folder run with a network that is known;
# processes that are killed.
pytest_plugins = ("tests.scan_builders", "tests.runner_builders", "tests.interruption")

# Workers of ``-n`` share the cores out, processes that tests start included: threads of several
# that wait for each other's cores are many times slower than one thread each. Before anything
# imports torch, which reads it once.
os.environ.setdefault(
    "OMP_NUM_THREADS",
    str(max(1, (os.cpu_count() or 1) // int(os.getenv("PYTEST_XDIST_WORKER_COUNT", "1")))),
)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread, because sums depend on the number of threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def write_dataset() -> Callable[..., Path]:
    """Return a function that writes scans of two boxes in noise, their labels, and a datalist.

    ``sizes`` of them train, are unlabelled, validate; the others test. Unlabelled ones name their
    labels if these are a ``secret`` to be kept. The last may be small: smaller than the patch, LPS,
    and of another spacing.
    """

    def write(
        folder: Path,
        scans: int = 5,
        shape: tuple[int, ...] = (34, 30, 36),
        sizes: tuple[int, int, int] = (2, 1, 1),
        labelled: bool = True,
        secret: bool = False,
        small_last: bool = False,
    ) -> Path:
        rng = np.random.default_rng(0)
        entries: list[dict[str, str]] = []
        kinds = ["image", "label"] if labelled else ["image"]
        for n in range(scans):
            small = small_last and n == scans - 1
            label = np.zeros((20, 24, 18) if small else shape, np.uint8)
            label[6:12, 8:20, 5:15] = 1
            label[12:18, 8:20, 5:15] = 2
            arrays = {
                "image": (rng.normal(size=label.shape) + 3 * label).astype(np.float32),
                "label": label,
            }
            entries.append({name: f"{name}s/{n}.nii.gz" for name in kinds})
            for name, file in entries[-1].items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                affine = np.diag([-1.0, -1.0, 1.2, 1.0]) if small else np.eye(4)
                nib.save(nib.Nifti1Image(arrays[name], affine), folder / file)
        a, b, c = itertools.accumulate(sizes)
        free = entries[a:b] if secret else [{"image": entry["image"]} for entry in entries[a:b]]
        content = {
            "training": entries[:a],
            "unlabeled": free,
            "validation": entries[b:c],
            "test": entries[c:],
        }
        (folder / "datalist.json").write_text(json.dumps({**content, "nobody": []}))
        return folder

    return write
