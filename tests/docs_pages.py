"""Pages of the docs, and the commands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("bundles/*/docs/README.md")),
]
CARDS = [page for page in PAGES if page.parts[-4] == "bundles"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.S | re.M)


def commands(page: Path) -> list[list[str]]:
    """Return shell commands as words: comments cut off, lines joined, variables put in."""
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
