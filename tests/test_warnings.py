"""Warnings are silenced by their message, never a category at once: the unforeseen is heard."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from monai_semiseg.images.dicom_header import values_unquoted

ROOT = Path(__file__).resolve().parents[1]


def too_wide(source: str) -> Iterator[int]:
    """Yield lines that silence warnings without naming a message."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
        first = str(texts[0]) if texts else ""
        named = len(call.args) > 1 or any(word.arg == "message" for word in call.keywords)
        if call.func.attr == "simplefilter" and first == "ignore":
            yield call.lineno
        if call.func.attr == "filterwarnings" and first == "ignore" and not named:
            yield call.lineno
        if call.func.attr == "filterwarnings" and first.startswith("ignore::"):  # pytest's mark
            yield call.lineno


@pytest.mark.parametrize(
    ("line", "wide"),
    [
        ('warnings.simplefilter("ignore")', True),
        ('warnings.simplefilter("ignore", UserWarning)', True),
        ('warnings.filterwarnings("ignore")', True),
        ('warnings.filterwarnings("ignore", category=UserWarning)', True),
        ('pytest.mark.filterwarnings("ignore::UserWarning")', True),
        ('warnings.simplefilter("error")', False),
        ('warnings.filterwarnings("ignore", "a text", UserWarning)', False),
        ('warnings.filterwarnings("ignore", message="a text")', False),
        ('pytest.mark.filterwarnings("ignore:a text:UserWarning")', False),
    ],
)
def test_the_search_finds_them(line: str, wide: bool) -> None:
    assert list(too_wide(line)) == ([1] if wide else [])


def test_no_category_is_switched_off_as_a_whole() -> None:
    files: set[Path] = set()
    for folder in ("monai_semiseg", "tests", "sample_data"):
        files.update((ROOT / folder).rglob("*.py"))
    files.remove(Path(__file__).resolve())
    assert len(files) > 150
    found = {str(file): list(too_wide(file.read_text())) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_pytest_is_told_messages() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    filters = settings["tool:pytest"]["filterwarnings"].strip().splitlines()
    assert filters
    assert all(line.split(":")[1] for line in filters)


def test_a_quoted_value_is_kept_back_and_all_else_is_heard() -> None:
    """Hide values, which may be a patient's, and keep what pydicom says of pixels."""
    with pytest.warns(UserWarning) as heard, values_unquoted():
        data = pydicom.Dataset()
        data.PatientBirthDate = "not a date"
        pydicom.misc.warn_and_log("The (0028,0101) 'Bits Stored' value doesn't match")
    assert [str(warning.message)[:5] for warning in heard] == ["The ("]
