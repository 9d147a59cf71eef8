"""Names of label files: which label each file of a case shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from monai_semiseg.datasets.case_names import stem_of
from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.datasets.layout import Files, files_of
from monai_semiseg.errors import LabelError

_BORDER = re.compile(r"[ _.\-()\[\]]+")
_NUMBER = re.compile(r"[ _.\-()\[\]]*\d*[ _.\-()\[\]]*$")  # the running number of a structure
KIND_OF_FILE = re.compile(r"masks?|segmentations?|segs?|labels?|gt|annotations?", re.I)


def label_paths(root: Path, files: Files) -> list[Path]:
    """Return the paths of the label files of a case below its dataset's folder."""
    return [root / name for name in files_of(files)]


def label_name(stem: str, case: str) -> str:
    """Return the name of the label in a file's stem, without case and running number.

    A word that only says what kind of file it is (``mask``, ``seg``) is no name.
    """
    rest = stem[len(case) :] if stem.startswith(case) else stem
    words = [word for word in _BORDER.split(_NUMBER.sub("", rest)) if word]
    words = [word for word in words if not KIND_OF_FILE.fullmatch(word) and not word.isdigit()]
    return "_".join(words)


def numbers_of_names(names: Iterable[str], labels: Mapping[int, str]) -> dict[str, int]:
    """Return name -> number of the labels that files or segments are named after.

    Args:
        names: the names of a whole dataset, see :func:`label_name`.
        labels: declared labels; without, names are numbered 1, 2, ... in alphabetical order. A
            declared label fits a name that ends with it. If there are one name and one label, they
            are the same.

    Names that no declared label fits are left out.
    """
    found = sorted({*names})
    declared = foreground_of(labels)
    if not declared:
        return {name: number for number, name in enumerate(found, 1)}
    if len(declared) == 1 and len(found) <= 1:
        return dict.fromkeys(found, *declared)
    fitting = {name: longest_ending(name, declared.values()) for name in found}
    numbers = {label: number for number, label in declared.items()}
    if len(declared) == 1 and "" in fitting:
        fitting[""] = next(iter(numbers))
    return {name: numbers[label] for name, label in fitting.items() if label is not None}


def number_in_file(path: Path, numbers: Mapping[str, int]) -> int:
    """Return the number of the label that a binary file is named after; 1 if there are no names.

    Raises:
        LabelError: If it is named after none.
    """
    stem = _NUMBER.sub("", stem_of(path))
    words = [word for word in _BORDER.split(stem) if word and not KIND_OF_FILE.fullmatch(word)]
    name = longest_ending("_".join(words), [name for name in numbers if name])
    if name is not None:
        return numbers[name]
    if "" in numbers or not numbers:
        return numbers.get("", 1)
    raise unnamed_error(path, numbers)


def unnamed_error(path: str | Path, labels: Iterable[str]) -> LabelError:
    """Return the error for one of several files of a case that is named after no label."""
    return LabelError(
        f"the name ends with none of the labels {', '.join(labels)}",
        expected="one file for each label, such as CASE_LABEL.png or CASE_LABEL1.png",
        remedy="rename the file, or declare the label in dataset.json",
        path=path,
    )


def longest_ending(text: str, names: Iterable[str]) -> str | None:
    """Return the longest of some names that a text ends with, word by word; or None."""
    words = _words(text)
    fitting = [name for name in names if (end := _words(name)) and words[-len(end) :] == end]
    return max(fitting, key=len, default=None)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", text.casefold()) if word]
