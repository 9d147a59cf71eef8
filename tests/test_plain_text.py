"""Names from outside command neither a terminal nor a page, and can be written."""

from __future__ import annotations

import json
import os
import sys
import unicodedata

import pytest

from monai_semiseg.errors import FormatError
from monai_semiseg.plain_text import as_html, as_json, counted, printable


def everything() -> str:
    return "".join(map(chr, range(sys.maxunicode + 1)))


def test_no_character_of_unicode_commands() -> None:
    shown = printable(everything())
    kinds = {unicodedata.category(char) for char in set(shown) - {"\u200c", "\u200d"}}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert shown.encode() and "ä" in shown and "患" in shown and "\u00a0" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b_ä-患.nii.gz", "a b_ä-患.nii.gz"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\r\nb\tc\a", "a\\x0d\\x0ab\\x09c\\x07"),
        ("scan\u202egnp.exe", "scan\\u202egnp.exe"),
        (os.fsdecode(b"caf\xe9.nii.gz"), "caf\\xe9.nii.gz"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_ends_may_stay() -> None:
    assert printable("a\n\x1b", keep="\n") == "a\n\\x1b"


def test_pages_get_no_markup() -> None:
    assert as_html("<b>\"'\x1b") == "&lt;b&gt;&quot;&#x27;\\x1b"


def test_json_is_readable_and_loses_nothing() -> None:
    text = "".join(char for char in everything() if unicodedata.category(char) != "Cs")
    content = {"input": [text, "größer", os.fsdecode(b"caf\xe9"), "\ud800", "\udfff"]}
    text = as_json(content)
    assert json.loads(text.encode()) == content
    assert printable(text, keep="\n") == text and "größer" in text


def test_errors_name_files_without_commands() -> None:
    error = FormatError("bad\x1b[2J", expected="a scan", path="in/a\nE_FAKE\x1b.nii")
    assert str(error).splitlines() == [
        "E_FORMAT in/a\\x0aE_FAKE\\x1b.nii: bad\\x1b[2J",
        "  expected: a scan",
    ]
    assert str(error.path) == "in/a\nE_FAKE\x1b.nii"


def test_one_thing_takes_no_s() -> None:
    assert [counted(number, "scans") for number in (0, 1, 2)] == ["0 scans", "1 scan", "2 scans"]
