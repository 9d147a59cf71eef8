"""Check of the docs: snippets run, commands parse, named files and config keys exist."""

from __future__ import annotations

import configparser
import importlib
import itertools
import json
import re
import shlex
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from PIL import Image

from monai_semiseg.cli.main import build_parser
from tests.docs_pages import CARDS, PAGES, ROOT, blocks, commands


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
    """Return headings as GitHub writes them into an address."""
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
    """Compare line for line, and find a link to the study's folder."""
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
    """Make it by the lines of the page, from a picture as ``demo`` writes it."""
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
    """Check that the configs exist, and that every override is a key of one of them."""
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


def test_every_fault_has_its_tests() -> None:
    """Check that the tests that the page names are there, and no row is named twice."""
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
