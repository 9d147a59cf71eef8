"""Tables of cases: ``id,group,image,image.T2,label``, one row for each case."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from monai_semiseg.datasets.description import NAME, declared_in, read_content
from monai_semiseg.datasets.layout import (
    Files,
    Layout,
    ListedCase,
    case_stem,
    files_of,
    one_or_several,
)
from monai_semiseg.datasets.sides import declared_sides
from monai_semiseg.errors import ConfigError
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.tables import read_rows, write_table

_COLUMNS = "id,group,image,label; with several channels image.FLAIR,image.T1"
_SLICES = "|"


def read_table(file: Path, root: Path) -> Layout:
    """Read a table; its paths are relative to ``root``.

    The columns ``image.NAME`` are the channels in their order. The same file in all of them is one
    file with several channels. A ``dataset.json`` in ``root``, if there is one, names the labels,
    and says whether they have sides.

    Raises:
        ConfigError: If there is no column ``image``, an unknown column, or a row without an image.
    """
    rows, columns = read_rows(file)
    channels = {name: name.partition(".")[2] for name in columns if _is(name, "image")}
    labels = [name for name in columns if _is(name, "label")]
    known = {"id", "group", *channels, *labels}
    if not channels or set(columns) - known:
        odd = sorted(set(columns) - known)
        found = f"unknown columns {', '.join(odd)}" if odd else "no column image"
        raise ConfigError(found, expected=_COLUMNS, path=file)
    if len(channels) > 1:
        channels = {column: name or "image" for column, name in channels.items()}
    layout = Layout(channel_names=tuple(name for name in channels.values() if name))
    if (root / NAME).is_file():
        content = read_content(root / NAME)
        layout.labels, layout.colours = declared_in(content, root)
        layout.sides = declared_sides(content, root / NAME)
    for number, row in enumerate(rows, 2):
        case = _case(row, channels, labels)
        if not case.images:
            raise ConfigError(f"line {number} names no image", expected=_COLUMNS, path=file)
        layout.cases.append(case)
        for name in [*_flat(case.images.values()), *files_of(case.label or ())]:
            if not (root / name).exists():
                layout.problems[name] = f"listed in {file.name}, but does not exist"
    return layout


def _is(column: str, kind: str) -> bool:
    return column == kind or column.startswith(f"{kind}.")


def _case(row: Mapping[str, str], channels: Mapping[str, str], labels: Sequence[str]) -> ListedCase:
    images: dict[str, Files] = {
        name: _files(row[column]) for column, name in channels.items() if row.get(column)
    }
    if len(images) == len(channels) > 1 and len(set(images.values())) == 1:
        images = {"": next(iter(images.values()))}
    label = one_or_several([row[column] for column in labels if row.get(column)])
    first = next(iter(images.values()), "")
    case_id = printable(row.get("id", "")) or case_stem(Path(files_of(first)[0]).name)
    return ListedCase(case_id, images, label or None, row.get("group", ""))


def _files(cell: str) -> Files:
    """Return the file of a cell, or the slices of a series that has no folder of its own."""
    return one_or_several(cell.split(_SLICES))


def _flat(several: Iterable[Files]) -> list[str]:
    return [name for files in several for name in files_of(files)]


def write_cases(
    file: Path, root: Path, cases: Sequence[ListedCase], channel_names: Sequence[str]
) -> Path:
    """Write a table of cases with paths relative to its folder.

    Args:
        file: the table, which must not exist.
        root: folder that the cases' files are relative to.
        cases: cases; the channels are ``channel_names``, or a single one without a name.
        channel_names: names of the channels, in order.

    Raises:
        ConfigError: If the file exists.
    """
    columns = [f"image.{name}" for name in channel_names] or ["image"]
    several = max((len(files_of(case.label or ())) for case in cases), default=1)
    labels = ["label", *(f"label.{number}" for number in range(2, several + 1))]
    if file.exists():
        raise ConfigError("exists", expected="a new file", remedy="choose another name", path=file)
    rows = []
    for case in cases:
        images = [_cell(case.images.get(name, ""), file, root) for name in channel_names or [""]]
        if "" in case.images and channel_names:
            images = [_cell(case.images[""], file, root)] * len(channel_names)
        of_label = [_cell(name, file, root) for name in files_of(case.label or ())]
        blank = [""] * (len(labels) - len(of_label))
        rows.append([case.id, case.group, *images, *of_label, *blank])
    return write_table(file, ["id", "group", *columns, *labels], rows, exact=True)


def _cell(files: Files, file: Path, root: Path) -> str:
    where = file.resolve().parent
    names = [os.path.relpath(root.resolve() / name, where) for name in files_of(files or ())]
    return _SLICES.join(Path(name).as_posix() for name in names)
