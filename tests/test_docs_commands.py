"""Commands of the docs run, page by page, and so does the tutorial."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs_pages import CARDS, PAGES, ROOT, commands
from tests.processes import run_module

PROGRAMS = {
    "python": [sys.executable],
    "monai-semiseg": [sys.executable, "-m", "monai_semiseg"],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone"],
}
# What stands for the reader's own files when a command is run; the rest of it stays as it is.
THINGS = {
    "DATASET": "dataset",
    "Task04_Hippocampus": "dataset",
    "SCANS": "sample_data/scans",
    "MASKS": "masks",
    "MASKS_FUSED": "masks_fused",
    "SCANS...": "sample_data/scans",
    "dicom_studies": "sample_data/scans/dicom",
    "YOURS.pt": "bundles/hebbian_initializer/models/model.pt",
    "GLANDS": "glands",
    "LESIONS": "lesions",
    "PHOTOGRAPHS": "sample_data/photographs/scans",
    "CONTRASTS": "sample_data/contrasts",
}


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run cell after cell, as Jupyter would, with the repository's folders in an empty one.

    Two iterations where it trains; masks of such a network may be flagged (5).
    """
    for name in ("sample_data", "bundles"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "notebook"}
    notebook = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = re.sub(r'"iterations": \d+', '"iterations": 2', "".join(cell["source"]))
            exec(compile(source, cell["id"], "exec"), names)
    masks = tmp_path / "runs" / "tutorial" / "masks"
    assert (
        names["code"] in (0, 3, 5)
        and (masks / "index.html").is_file()
        and list(masks.rglob("*_uncertainty.nii.gz"))
    )
    assert (tmp_path / "runs" / "tutorial" / "test" / "metrics.json").is_file()


def small(words: list[str]) -> list[str]:
    """Return the command with existing files, made short.

    Two iterations where it trains. A study only says which of its few cells it would run: each
    takes two processes, and tests/cli/test_study.py runs them.
    """
    words = [
        re.sub(r"[^=]+$", lambda found: THINGS.get(found[0], found[0]), word) for word in words
    ]
    bundle_run = "monai.bundle" in words
    trains = bundle_run and re.search(r"/(train|pretrain)\w*\.json", " ".join(words))
    trains = trains or words[1] in ("train", "pretrain")
    study = words[:2] == ["monai-semiseg", "study"]
    few = {"--labelled": "4", "--splits": "0", "--seeds": "0", "--budget": "2"}
    fewer = few if study else {"--iterations": "2"}
    words = [fewer.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    if trains and "--iterations" not in words:
        words += ["--iterations", "2"]
    if study and "--budget" not in words:
        words += ["--budget", "2"]
    if study:
        words += ["--dry_run", "--device", "cpu"]
    if words[:2] == ["monai-semiseg", "review"]:
        words += ["--no_browser"]
    return [*PROGRAMS[words[0]], *words[1:]]


def end_of_command(
    words: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, cwd=folder, env=environment, timeout=600
    )


def end_of_fork(
    words: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run in a fork of a Python that has imported everything."""
    assert words[:2] == [sys.executable, "-m"]
    return run_module(words[2:], folder, environment)


def end_of_server(
    words: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Press Ctrl-C as soon as the command says where its page is."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=folder,
        env=environment,
        # A shell that runs the tests in the background lets them ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as server:
        first = server.stdout.readline() if server.stdout is not None else ""
        server.send_signal(signal.SIGINT)
        out, errors = server.communicate(timeout=600)
    return subprocess.CompletedProcess(words, server.returncode, first + out, errors)


def run(words: list[str], folder: Path, fresh: bool = False) -> None:
    """Run a command to its end, in a fresh Python if asked for."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
    }
    serves = words[1] == "review" and "--table" not in words
    end = end_of_server if serves else end_of_command if fresh else end_of_fork
    done = end(small(words), folder, environment)
    masks = "predict" in words or "inference.json" in " ".join(words)
    # A network of two iterations makes masks of any volume: they are flagged.
    said = f"{shlex.join(words)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
    assert done.returncode in ((0, 5) if masks else (0,)), said


def write_photographs(folder: Path, names: list[str], edge: int) -> None:
    """Write colour photographs of a box, with masks of 0 and 255 whose last row is another."""
    rng = np.random.default_rng(0)
    for name in names:
        mask = np.zeros((24, 32), np.uint8)
        mask[6:16, 8:20] = 255
        mask[15, 8:20] = edge
        photograph = rng.integers(0, 80, (24, 32, 3), np.uint8) + mask[..., None] // 2
        for kind, pixels in (("images", photograph), ("labels", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    """Make a folder with bundles, sample data, a dataset, a datalist and a plan."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "bundles", folder / "bundles")
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    (folder / "tests").symlink_to(ROOT / "tests")
    write_dataset(folder / "dataset", scans=64, shape=(26, 32, 24))
    glands = [*(f"train_{n}" for n in range(20)), *(f"testA_{n}" for n in range(3))]
    write_photographs(folder / "glands", glands, edge=255)
    write_photographs(folder / "lesions", [f"lesion_{n}" for n in range(52)], edge=100)
    run(
        ["monai-semiseg", "split", "DATASET", "--labelled", "20", "--output", "datalist.json"],
        folder,
    )
    run(
        [
            "monai-semiseg",
            "plan",
            "DATASET",
            "--datalist",
            "datalist.json",
            "--output",
            "plan.yaml",
        ],
        folder,
    )
    return folder


OURS = {
    page: [words for words in commands(page) if words[0] in PROGRAMS and "venv" not in words]
    for page in PAGES
}


def test_every_bundles_page_has_commands() -> None:
    assert all(OURS[page] for page in (ROOT / "README.md", *CARDS))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if OURS[page]], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_command_runs(page: Path, home: Path) -> None:
    """Run them from a clean folder, in the order of the page.

    README's first of each verb that loads the most runs in a Python of its own, as in a shell.
    """
    for name in ("runs", "masks", "masks_fused"):
        shutil.rmtree(home / name, ignore_errors=True)
    fresh = {"predict", "train", "evaluate"} if page == ROOT / "README.md" else set()
    for words in OURS[page]:
        run(words, home, fresh=words[1] in fresh)
        fresh.discard(words[1])
