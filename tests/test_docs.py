"""Check of the docs: snippets run, commands parse, named files and config keys exist."""

from __future__ import annotations

import configparser
import importlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from monai_semiseg.cli.main import build_parser
from tests.processes import run_module

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("bundles/*/docs/README.md")),
]
CARDS = [page for page in PAGES if page.parts[-4] == "bundles"]
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


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.S | re.M)


def commands(page: Path) -> list[list[str]]:
    """Shell commands as words: comments cut off, lines joined, variables put in."""
    found: list[list[str]] = []
    for block in [*blocks(page, "sh"), *blocks(page, "bash")]:
        variables: dict[str, str] = {}
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            line = re.sub(r"(^|\s)#.*", "", line)
            line = re.sub(r"\$\(monai-semiseg bundle (\w+)\)", r"bundles/\1", line)
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            for part in re.split(r"&&|;|\|", line):
                words = shlex.split(part)
                while words and re.fullmatch(r"[A-Z]\w*=.*", words[0]):
                    name, _, value = words.pop(0).partition("=")
                    variables[name] = value
                if words:
                    found.append(words)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    """Headings as GitHub writes them into an address."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_and_model_cards_are_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1100
    assert len(CARDS) == 4
    for card in CARDS:
        assert len(card.read_text().split()) <= 450, card


@pytest.mark.parametrize(
    "summary",
    sorted(ROOT.glob("bundles/*/docs/*/summary.md")),
    ids=lambda path: path.parent.name,
)
def test_results_hold_the_tables_of_the_studies(summary: Path) -> None:
    """Line for line, with a link to the study's folder."""
    page = (ROOT / "docs" / "results.md").read_text()
    assert summary.read_text().strip() in page
    assert f"](../{summary.parent.relative_to(ROOT).as_posix()})" in page


def test_every_method_has_its_row() -> None:
    page = (ROOT / "docs" / "methods.md").read_text()
    names = re.findall(r"^\| `(\w+)`[^|]*\|(?:[^|]*\|){5}$", page, re.M)
    folder = ROOT / "bundles" / "semisupervised_baselines" / "configs" / "methods"
    assert sorted(names) == sorted(path.stem for path in folder.glob("*.yaml"))


def test_the_architecture_page_has_every_room_in_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    contract = configparser.ConfigParser()
    contract.read(ROOT / "setup.cfg")
    layers = contract["importlinter:contract:house"]["layers"].split()
    rooms = re.findall(r"^\| `(\w+)` \| [A-Z].*\.\s\|$", page, re.M)
    assert rooms == [layer.removeprefix("monai_semiseg.") for layer in reversed(layers)]


def test_the_overview_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the lines of the page, from a picture as ``demo`` writes it."""
    assert (ROOT / "docs" / "overview.png").stat().st_size < 300_000
    (snippet,) = blocks(ROOT / "docs" / "contributing.md", "python")
    preview = tmp_path / "runs" / "demo" / "predictions" / "lps_slices_preview.png"
    preview.parent.mkdir(parents=True)
    Image.new("RGB", (900, 462)).save(preview)
    (tmp_path / "docs").mkdir()
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "docs/contributing.md", "exec"), {"__name__": "snippet"})
    with (
        Image.open(tmp_path / "docs" / "overview.png") as made,
        Image.open(ROOT / "docs" / "overview.png") as kept,
    ):
        assert made.size == kept.size


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_ones_that_we_have(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        program = words[0].rsplit("/", 1)[-1]
        if program == "monai-semiseg":
            arguments = [word for word in words[1:] if word != "..."]
            try:
                build_parser().parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{shlex.join(words)}: {capsys.readouterr().err}")
        elif program in ("python", "torchrun") and "monai.bundle" in words:
            _check_bundle_run(words)
        elif program == "python" and words[1] == "-m":
            module = words[2]
            assert importlib.util.find_spec(module) is not None, words


def _check_bundle_run(words: list[str]) -> None:
    """The configs are there, and every override is a key of one of them."""
    options = dict(itertools.pairwise(words))
    if "verify_metadata" in words:
        assert (ROOT / options["--meta_file"]).is_file() and (
            ROOT / options["--filepath"]
        ).is_file()
        return
    text = options["--config_file"]
    files = re.findall(r"'([^']+)'", text) or [text]
    ours = [ROOT / file for file in files if file.startswith("bundles/")]
    assert ours and all(file.is_file() for file in ours), files
    known = set().union(*(ConfigParser.load_config_file(str(file)) for file in ours))
    for word in words[words.index("run") + 1 :]:
        if word.startswith("--") and word not in (
            "--config_file",
            "--bundle_root",
            "--meta_file",
            "--logging_file",
        ):
            assert word[2:].split("#")[0] in known, word


@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param(code, id=f"weights-{n}")
        for n, code in enumerate(blocks(ROOT / "docs" / "weights.md", "python"))
    ],
)
def test_snippets_run(snippet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(snippet, "docs/weights.md", "exec"), {"__name__": "snippet"})


def test_json_snippets_are_json() -> None:
    found = blocks(ROOT / "docs" / "weights.md", "json")
    assert found
    for code in found:
        assert "_target_" in json.loads(code)


def test_the_api_page_names_what_is_there() -> None:
    for row in (ROOT / "docs" / "api.md").read_text().splitlines():
        if not row.startswith("| `monai_semiseg."):
            continue
        package = re.findall(r"`(.+?)`", row)[0]
        names = re.findall(r"`(.+?)`", row)[1:]
        for name in names:
            parts = name.split(".")
            module = None
            try:
                module = importlib.import_module(f"{package}.{parts[0]}")
                assert len(parts) == 1 or hasattr(module, parts[1]), name
            except (
                ModuleNotFoundError
            ):  # a further name of the module before it, or of a single-file package
                previous = importlib.import_module(package)
                holders = [
                    previous,
                    *(
                        importlib.import_module(f"{package}.{known.split('.')[0]}")
                        for known in names
                        if "." in known
                    ),
                ]
                assert any(hasattr(holder, parts[0]) for holder in holders), name


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell after cell, as Jupyter would, with the repository's folders linked into an empty one.

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


def test_every_fault_has_its_tests() -> None:
    """The tests that the page names are there, and no row is named twice."""
    rows = re.findall(
        r"^\| ([\d, -]+) \|.*\| ([^|]+) \|$", (ROOT / "docs" / "robustness.md").read_text(), re.M
    )
    text = ", ".join(row for row, _ in rows).replace("1-4", "1, 2, 3, 4")
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    assert sorted(numbers) == sorted(set(range(1, 58)) - {55})
    for _, tests in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named
        for file, name in named:
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), (file, name)


def test_every_outside_fault_has_its_tests_and_its_exit_code() -> None:
    page = (ROOT / "docs" / "robustness.md").read_text().split("# Faults found from outside")[1]
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) > 20
    for row in rows:
        *_, code, tests = (cell.strip() for cell in row.strip("|").split("|"))
        assert re.fullmatch(r"\d(, \d)*", code), row
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), (file, name)


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
        words, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment
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
    """From a clean folder, in the order of the page.

    README's first of each verb that loads the most runs in a Python of its own, as in a shell.
    """
    for name in ("runs", "masks", "masks_fused"):
        shutil.rmtree(home / name, ignore_errors=True)
    fresh = {"predict", "train", "evaluate"} if page == ROOT / "README.md" else set()
    for words in OURS[page]:
        run(words, home, fresh=words[1] in fresh)
        fresh.discard(words[1])
