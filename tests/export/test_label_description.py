"""Lists of names and colours for programs whose masks hold numbers alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import ImageColor

from monai_semiseg.errors import FormatError
from monai_semiseg.export.label_description import (
    read_labelmap,
    write_itksnap_labels,
    write_labelmap,
)
from monai_semiseg.export.palette import class_colours

NAMES = {0: "background", 2: 'the "big" one', 7: "a:b"}


def test_itk_snaps_list(tmp_path: Path) -> None:
    lines = write_itksnap_labels(tmp_path / "labels.txt", NAMES).read_text().splitlines()
    rows = [line.split(maxsplit=7) for line in lines if not line.startswith("#")]
    colours = class_colours([2, 7])
    assert rows[0] == ["0", "0", "0", "0", "0", "0", "0", '"Clear Label"']
    assert rows[1][:4] == ["2", *map(str, colours[2])] and rows[1][4:] == [
        "1",
        "1",
        "1",
        '"the big one"',
    ]
    assert rows[2][0] == "7" and rows[2][7] == '"a:b"'


def test_cvats_list(tmp_path: Path) -> None:
    colours = read_labelmap(write_labelmap(tmp_path / "labelmap.txt", NAMES))
    assert list(colours) == ["background", 'the "big" one', "a b"]
    expected = [(0, 0, 0), *class_colours([2, 7]).values()]
    assert [ImageColor.getrgb(code) for code in colours.values()] == expected


@pytest.mark.parametrize("line", ["gland", "gland:1,2::", "gland:1,2,256::"])
def test_a_damaged_list(line: str, tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_text(f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{line}\n")
    with pytest.raises(FormatError, match=f"the line '{line}'"):
        read_labelmap(path)
