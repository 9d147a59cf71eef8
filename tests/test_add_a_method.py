"""``docs/add_a_method.md`` followed step by step, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = "flip_consistency"


def block(page: str, heading: str, language: str, number: int = 0) -> str:
    """Return a code block of the section whose heading begins like this."""
    section = re.split(r"^## ", page, flags=re.M)
    (text,) = [part for part in section if part.startswith(heading)]
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)[number]


def insert(file: Path, before: str, line: str) -> None:
    """Put a line before another one that is there once."""
    text = file.read_text()
    assert text.count(before) == 1, before
    file.write_text(text.replace(before, line + before))


def follow(page: str, home: Path) -> None:
    """Do what the page says, and nothing else."""
    engines = home / "monai_semiseg" / "engines"
    (engines / f"{NAME}.py").write_text(block(page, "1.", "python"))
    first = "from monai_semiseg.engines.hebbian import"
    insert(engines / "__init__.py", first, block(page, "1.", "python", 1))
    methods = home / "bundles" / "semisupervised_baselines" / "configs" / "methods"
    (methods / f"{NAME}.yaml").write_text(block(page, "2.", "yaml"))
    tests = home / "tests" / "engines" / "test_comparators.py"
    insert(tests, '    "dual_task": engines.', block(page, "3.", "python"))
    insert(home / "docs" / "methods.md", "| `mean_teacher` |", block(page, "4.", "markdown"))


@pytest.mark.slow
def test_the_page_can_be_followed(tmp_path: Path) -> None:
    for name in ("monai_semiseg", "bundles", "tests", "docs", "sample_data"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored, symlinks=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    follow((ROOT / "docs" / "add_a_method.md").read_text(), tmp_path)
    chosen = [f"{NAME} or test_every_method_has_its_row"]
    files = ["tests/engines/test_comparators.py", "tests/bundles/test_methods.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", *chosen, *files, "tests/test_docs.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= 8, done.stdout[-3000:]
    lint = [sys.executable, "-m", "ruff", "check", f"monai_semiseg/engines/{NAME}.py"]
    checked = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
