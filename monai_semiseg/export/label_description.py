"""Names and colours of labels in files of their own, for programs whose masks hold numbers alone.

ITK-SNAP reads its label description file. CVAT calls its list ``labelmap.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from monai_semiseg.datasets.label_values import background_of
from monai_semiseg.errors import FormatError
from monai_semiseg.export.palette import class_colours
from monai_semiseg.storage.files import write_atomically

ITKSNAP_LABELS = "labels.txt"
LABELMAP = "labelmap.txt"
_ITKSNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""
_LABELMAP_HEAD = "# label:color_rgb:parts:actions"
_LABELMAP_LINE = re.compile(r"(?P<name>.+?):(?P<colour>\d+,\d+,\d+):.*")


def write_itksnap_labels(path: Path, names: Mapping[int, str]) -> Path:
    """Write ITK-SNAP's label description file, with the colours that all pictures have.

    Args:
        path: the file to write.
        names: number -> name; the background has no line.
    """
    lines = [
        f"{value:5d}  {red:4d} {green:4d} {blue:4d}        1  1  1    {_quoted(names[value])}"
        for value, (red, green, blue) in _colours(names).items()
    ]
    return write_atomically(path, _ITKSNAP_HEAD + "\n".join(lines) + "\n")


def write_labelmap(path: Path, names: Mapping[int, str]) -> Path:
    """Write CVAT's ``labelmap.txt``: a line ``name:red,green,blue::`` for each label.

    A comment above them has the numbers, for programs whose files hold numbers.

    Args:
        path: the file to write.
        names: number -> name, background included.
    """
    plain = {value: re.sub(r"[:\s]+", " ", name).strip() for value, name in names.items()}
    numbers = ", ".join(f"{value} {name}" for value, name in sorted(plain.items()))
    lines = [_LABELMAP_HEAD, f"# numbers in the masks: {numbers}", "background:0,0,0::"]
    for value, colour in _colours(names).items():
        lines.append(f"{plain[value]}:{','.join(map(str, colour))}::")
    return write_atomically(path, "\n".join(lines) + "\n")


def read_labelmap(path: Path) -> dict[str, str]:
    """Read CVAT's ``labelmap.txt``.

    Returns:
        Name -> ``#rrggbb``.

    Raises:
        FormatError: If a line has another form.
    """
    colours: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _LABELMAP_LINE.fullmatch(line.strip())
        values = [int(part) for part in found["colour"].split(",")] if found else [256]
        if found is None or max(values) > 255:
            raise FormatError(
                f"the line {line.strip()!r}", expected="name:red,green,blue::", path=path
            )
        colours[found["name"]] = "#" + bytes(values).hex()
    return colours


def _colours(names: Mapping[int, str]) -> dict[int, tuple[int, ...]]:
    background = background_of(names)
    return class_colours(value for value in sorted(names) if value not in (0, background))


def _quoted(name: str) -> str:
    return '"' + re.sub(r'["\s]+', " ", name).strip() + '"'
