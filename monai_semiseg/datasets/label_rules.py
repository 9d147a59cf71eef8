"""The rule by which label files are read: threshold, colours, several files a case."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.label_values import is_background, label_numbers
from monai_semiseg.errors import ConfigError

COLOUR_EXAMPLE = '"labels": {"background": "#000000", "gland": "#ff0000"}'
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_BLACK = "#000000"


@dataclass(frozen=True)
class LabelRule:
    """Say how the label files of a dataset are read. The datalist holds it as ``label_rule``.

    Without any of it, a label file holds one whole number per voxel.

    Attributes:
        threshold: grey values above it are foreground, all others background.
        merge: whether a case may have several binary files, one for each label or structure.
        colours: name -> ``#rrggbb``. The background is 0, the others are 1, 2, ... in this order.
        numbers: name -> number, for files and segments that are known by name. The name ``""``
            stands for the foreground of a binary file without one; it is 1 by default.
        palette: index -> ``#rrggbb`` that all palette files share; empty if not known.
        stack_pages: whether the pages of a TIFF are slices of a 3-D label, as those of the image.
    """

    threshold: float | None = None
    merge: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    palette: Mapping[int, str] = field(default_factory=dict)
    stack_pages: bool = False

    @property
    def foreground(self) -> int:
        """Return the number of the foreground of a binary file without a name."""
        return self.numbers.get("", 1)

    @property
    def colour_numbers(self) -> dict[str, int]:
        """Return ``#rrggbb`` -> number. Black is background unless the colours say otherwise."""
        numbers = {colour: number for number, colour in enumerate(self._foreground_colours(), 1)}
        backgrounds = [c for name, c in self.colours.items() if is_background(name)]
        numbers.update(dict.fromkeys(backgrounds, 0))
        return numbers if backgrounds else {_BLACK: 0, **numbers}

    @property
    def colour_names(self) -> dict[int, str]:
        """Return number -> name of the labels that have colours; empty if none has."""
        if not self.colours:
            return {}
        names = [name for name in self.colours if not is_background(name)]
        return {0: "background", **dict(enumerate(names, 1))}

    def _foreground_colours(self) -> list[str]:
        return [colour for name, colour in self.colours.items() if not is_background(name)]

    def record(self) -> dict[str, Any]:
        """Return what differs from plain numbers, as content of a JSON file."""
        plain = asdict(LabelRule())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}


PLAIN = LabelRule()  # a whole number per voxel


def recorded_rule(datalist: Mapping[str, Any], path: str | Path | None = None) -> LabelRule:
    """Return the rule that a datalist holds; plain numbers if it holds none.

    Raises:
        ConfigError: If the rule cannot be read.
    """
    content = datalist.get("label_rule") or {}
    known = [one.name for one in fields(LabelRule)]
    try:
        if unknown := sorted(set(content) - set(known)):
            raise ValueError(f"unknown: {', '.join(unknown)}")
        rule = LabelRule(**content)
        return LabelRule(
            None if rule.threshold is None else checked_threshold(rule.threshold),
            bool(rule.merge),
            checked_colours(rule.colours),
            {str(name): int(number) for name, number in rule.numbers.items()},
            {int(index): str(colour) for index, colour in rule.palette.items()},
            bool(rule.stack_pages),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"label_rule {content} ({error})",
            expected=f"a mapping with some of {', '.join(known)}",
            remedy="write the datalist with monai-semiseg split",
            path=path,
        ) from error


def checked_threshold(value: float | str) -> float:
    """Return a threshold, a whole number where it is one.

    Raises:
        ValueError: If it is not finite.
    """
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no finite number")
    return int(number) if number.is_integer() else number


def checked_colours(colours: Mapping[str, str]) -> dict[str, str]:
    """Return name -> ``#rrggbb`` in lower case.

    Raises:
        ConfigError: If a colour has another form, or two labels have one colour.
    """
    found = {str(name): str(colour).strip().lower() for name, colour in colours.items()}
    odd = {name: colour for name, colour in found.items() if not _COLOUR.fullmatch(colour)}
    if odd or len(set(found.values())) < len(found):
        problem = "that cannot be read" if odd else "that two labels share"
        raise ConfigError(f"colours {problem}: {odd or found}", expected=COLOUR_EXAMPLE)
    return found


def read_labels(
    declared: Mapping[Any, Any], path: str | Path | None = None
) -> tuple[dict[int, str], dict[str, str]]:
    """Read declared labels: numbers and names, or names and colours, in either direction.

    Returns:
        Number -> name, and name -> ``#rrggbb`` (empty if labels have numbers).

    Raises:
        ConfigError: If they are neither; or colours and numbers are mixed.
    """
    pairs = {str(key): str(value) for key, value in declared.items()}
    if any(key.startswith("#") for key in pairs):
        pairs = {value: key for key, value in pairs.items()}
    coloured = {name: text for name, text in pairs.items() if text.startswith("#")}
    if not coloured:
        return label_numbers(declared, path), {}
    others = {name: text for name, text in pairs.items() if name not in coloured}
    if any(not is_background(name) or text != "0" for name, text in others.items()):
        raise ConfigError(
            f"labels with colours and others without: {', '.join(others)}",
            expected=f"a colour for every label, {COLOUR_EXAMPLE}",
            path=path,
        )
    rule = LabelRule(colours=checked_colours(coloured))
    return rule.colour_names, dict(rule.colours)
