"""Read which cases a user asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.chosen import choose

CASES = [
    DatasetCase(name, f"images/{name}.nii", "l.nii" if name == "a" else None) for name in "abcd"
]
DATASET = ScanDataset(Path("data"), "data", "", {}, CASES)
DATALIST = {
    "training": [],
    "unlabeled": [{"image": "images/a.nii"}, {"image": "images/c.nii"}],
    "test": [{"image": "images/d.nii"}],
}


def ids(cases: list[DatasetCase]) -> str:
    return "".join(case.id for case in cases)


def test_by_number_by_ids_and_by_table(tmp_path: Path) -> None:
    assert ids(choose(DATASET, None).cases) == "bcd"
    assert choose(DATASET, None).most is None
    few = choose(DATASET, "2", DATALIST)
    assert ids(few.cases) == "ac" and few.most == 2
    assert ids(choose(DATASET, "c, b,c").cases) == "cb"
    table = tmp_path / "to_label.csv"
    table.write_text("rank;id\n1;d\n2;b\n")
    assert ids(choose(DATASET, str(table)).cases) == "db"
    table.write_text("rank,id,status\n1,c,label\n,b,set apart\n,a,duplicate\n")
    assert ids(choose(DATASET, str(table)).cases) == "c"


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no case 'z'"):
        choose(DATASET, "a,z")
    with pytest.raises(ConfigError, match="d: kept for test"):
        choose(DATASET, "c,d", DATALIST)
    groups = {"b": "p", "d": "p"}
    grouped = [replace(case, group=groups.get(case.id, "")) for case in CASES]
    with pytest.raises(ConfigError, match="b: of group p, which is kept for test"):
        choose(replace(DATASET, cases=grouped), "b,c", DATALIST)
    table = tmp_path / "cases.csv"
    table.write_text("name\na\n")
    with pytest.raises(ConfigError, match="expected: a column id"):
        choose(DATASET, str(table))
