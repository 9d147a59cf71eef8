"""Safe display of text from file names and headers, on a terminal or in a page."""

from __future__ import annotations

import html
import json
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"  # between Persian letters and in emoji; they change no other text


def printable(text: str, keep: str = "") -> str:
    r"""Return text with every control character written as its number.

    Control characters are those that begin ANSI escape sequences, line ends, and marks that change
    the direction of the text. Characters that UTF-8 cannot encode are written the same way. A byte
    of a file name that is not UTF-8 becomes ``\xe9``.

    Args:
        text: the text to show.
        keep: characters to keep, such as a line end.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_visible(char) or char in keep else _escape(char) for char in text)


def counted(number: int, things: str) -> str:
    """Return a number with its noun: 1 scan, 2 scans. The noun is one that takes an s."""
    return f"{number} {things.removesuffix('s') if number == 1 else things}"


def _is_visible(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs"


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8 (PEP 383)
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def as_html(text: str) -> str:
    """Return text for an HTML page, between tags or in quotes: printable, without markup."""
    return html.escape(printable(text))


def as_json(content: Any, indent: int = 1) -> str:
    """Return readable JSON without loss: characters that are not printable get JSON's escapes."""
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return "\n".join(_json_line(line) for line in text.split("\n"))


def _json_line(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(char if _is_visible(char) else json.dumps(char)[1:-1] for char in line)
