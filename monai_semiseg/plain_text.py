"""Text from file names and headers, shown so that nothing in it commands a terminal or a page."""

from __future__ import annotations

import html
import json
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"  # between letters of Persian, in emoji: they change nothing around them


def printable(text: str, keep: str = "") -> str:
    r"""Return text with every character that is a command, not a sign, written as its number.

    Commands are control characters (ANSI escape sequences begin with one), line ends, and marks
    that turn the direction of what follows; what UTF-8 cannot hold is written likewise. A byte of a
    file name that is not UTF-8 becomes ``\xe9``.

    Args:
        text: what to show.
        keep: characters that may stay, such as a line end.
    """
    if text.isprintable():
        return text
    return "".join(char if _shows(char) or char in keep else _number(char) for char in text)


def _shows(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs"


def _number(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8 (PEP 383)
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def as_html(text: str) -> str:
    """Return text for a page, between tags or within quotes: printable, and no markup."""
    return html.escape(printable(text))


def as_json(content: Any, indent: int = 1) -> str:
    """Return readable JSON that loses nothing: what is not printable has JSON's own escapes."""
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return "\n".join(
        line
        if line.isprintable()
        else "".join(char if _shows(char) else json.dumps(char)[1:-1] for char in line)
        for line in text.split("\n")
    )
