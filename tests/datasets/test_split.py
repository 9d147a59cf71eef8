"""Splits: equal on every machine, disjoint sections, no label of an unlabelled scan."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.datasets.datalist import (
    load_datalist,
    read_datalist,
    read_images,
    read_labelled,
    write_datalist,
)
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.split import split
from monai_semiseg.errors import ConfigError

SECTIONS = ("training", "unlabeled", "validation", "test")


def dataset(count: int = 50, unlabelled: int = 10) -> ScanDataset:
    cases = [
        DatasetCase(
            f"c{n:03}",
            f"imagesTr/c{n:03}.nii.gz",
            f"labelsTr/c{n:03}.nii.gz" if n < count else None,
        )
        for n in range(count + unlabelled)
    ]
    return ScanDataset(Path("x"), "d", "MRI", {0: "background", 1: "a"}, cases)


def images(content: dict[str, object], section: str) -> set[str]:
    return {entry["image"] for entry in content[section]}  # type: ignore[attr-defined]


@pytest.mark.parametrize("labelled", [1, 2, 4, 10, 0.1, 0.5, 1.0 - 1e-9, 40])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_sections_are_disjoint_and_whole(labelled: float, seed: int) -> None:
    content = split(dataset(), labelled=labelled, test=10, seed=seed)
    found = [images(content, section) for section in SECTIONS]
    assert sum(map(len, found)) == len(set().union(*found)) == 60
    budget = len(found[0]) + len(found[2])
    assert budget == (labelled if labelled >= 1 else -int(-labelled * 40 // 1))
    assert len(found[2]) == (0 if budget < 10 else round(0.1 * budget))
    assert all(set(entry) == {"image"} for entry in content["unlabeled"])
    for section in ("training", "validation", "test"):
        assert all("label" in entry for entry in content[section])
    assert all(
        content[section] == sorted(content[section], key=lambda e: e["image"])
        for section in SECTIONS
    )


def test_test_scans_depend_on_the_test_seed_alone() -> None:
    tests = [
        images(split(dataset(), labelled=n, seed=s), "test")
        for n, s in itertools.product((2, 20), (0, 5))
    ]
    assert all(one == tests[0] for one in tests)
    assert images(split(dataset(), labelled=2, test_seed=1), "test") != tests[0]


def test_budgets_are_nested() -> None:
    small, large = (split(dataset(), labelled=n, seed=3) for n in (4, 20))
    assert images(small, "training") <= images(large, "training") | images(large, "validation")


def test_other_seeds_label_other_scans() -> None:
    assert (
        len({frozenset(images(split(dataset(), labelled=5, seed=s), "training")) for s in range(5)})
        == 5
    )


def test_the_order_is_a_hash_and_the_bytes_are_pinned(tmp_path: Path) -> None:
    """Expect the same file on every machine; another digest would change published splits."""
    path = write_datalist(split(dataset(), labelled=6, test=5, validation=0.1), tmp_path / "d.json")
    slow = sorted(
        (f"c{n:03}" for n in range(50)),
        key=lambda c: hashlib.sha256(f"test/0/{c}".encode()).hexdigest(),
    )
    assert images(json.loads(path.read_text()), "test") == {
        f"imagesTr/{c}.nii.gz" for c in slow[:5]
    }
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == "75381e4e386c3aa8"


def test_a_new_scan_does_not_reorder_the_others() -> None:
    before = images(split(dataset(50, 0), labelled=40, test=10), "test")
    after = images(split(dataset(51, 0), labelled=40, test=10), "test")
    assert len(before & after) >= 9


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"labelled": 0}, "no labelled scan"),
        ({"labelled": 41, "test": 10}, "41 of 40"),
        ({"labelled": 2.5}, "whole number"),
        ({"labelled": float("nan")}, "whole number"),
        ({"labelled": 5, "test": float("inf")}, "whole number"),
        ({"labelled": -1}, "-1"),
        ({"labelled": 5, "test": 51}, "51 of 50"),
        ({"labelled": 5, "validation": 1.0}, "share"),
        ({"labelled": 5, "validation": "none"}, "'none'"),
        ({"labelled": 5, "test": "testA_*"}, "matches none of 50 labelled scans"),
    ],
)
def test_impossible_budgets(settings: dict[str, float | str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        split(dataset(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labelled", "asked", "validated"),
    [(9, "auto", 0), (10, "auto", 1), (24, "auto", 2), (9, 0.1, 1), (1, 0.1, 0), (24, 0, 0)],
)
def test_every_label_trains_where_there_are_few(
    labelled: int, asked: float | str, validated: int
) -> None:
    content = split(dataset(), labelled=labelled, test=10, validation=asked)
    assert len(content["validation"]) == validated
    assert len(content["training"]) == labelled - validated
    share = {"auto": 0.0 if labelled < 10 else 0.1}.get(asked, asked)  # type: ignore[call-overload]
    assert content["split"]["validation_share"] == share


def named(ids: str, groups: str = "") -> ScanDataset:
    """Return labelled cases, but for those in capitals; a letter of ``groups`` is a patient."""
    cases = [
        DatasetCase(case_id, f"i/{case_id}", None if case_id.isupper() else f"l/{case_id}", group)
        for case_id, group in zip(ids.split(), groups or " " * 99, strict=False)
    ]
    cases = [replace(case, group=case.group.strip()) for case in cases]
    return ScanDataset(Path("x"), "d", "", {}, cases)


def test_a_given_test_set(tmp_path: Path) -> None:
    """Test exactly the labelled cases that match, whatever the seeds; the datalist says so."""
    found = named("testA_1 testA_2 TESTA_3 testB_1 train_1 train_2 train_3")
    for seed in (0, 1):
        content = split(found, labelled=2, test="testA_*", seed=seed, test_seed=seed)
        assert images(content, "test") == {"i/testA_1", "i/testA_2"}
        assert content["split"]["test"] == "testA_*"
        assert len(content["training"]) == 2 and "i/TESTA_3" in images(content, "unlabeled")
    assert len(split(found, labelled=None, test="test[AB]_*")["training"]) == 3
    assert "test" not in split(found, labelled=2, test=1)["split"]


def test_a_given_test_set_keeps_patients_apart() -> None:
    content = split(named("testA_1 train_1 train_2 U", "pqpp"), labelled=None, test="testA_*")
    assert images(content, "training") == {"i/train_1"}
    assert set(content["left_out"]) == {"train_2", "U"}


def test_chosen_scans_are_the_labelled_ones() -> None:
    """Label chosen scans in place of drawn ones; the test scans stay those of every other split."""
    drawn = split(dataset(), labelled=4, test=10)
    rest = sorted(images(drawn, "unlabeled"))
    ids = [image.removeprefix("imagesTr/").removesuffix(".nii.gz") for image in rest[5:25]]
    content = split(dataset(), labelled=None, test=10, chosen=ids)
    assert images(content, "test") == images(drawn, "test")
    assert images(content, "training") | images(content, "validation") == set(rest[5:25])
    assert len(content["validation"]) == 2 and content["split"]["labelled"] == 20
    tested = sorted(images(drawn, "test"))[0].removeprefix("imagesTr/").removesuffix(".nii.gz")
    moved = split(dataset(), labelled=None, test=10, chosen=[tested, *ids[:3]])
    assert len(moved["training"]) == 4 and len(moved["test"]) == 10
    assert len(images(moved, "test") & images(drawn, "test")) == 9
    few = split(dataset(5, 20), labelled=None, test=0.5, chosen=[f"c{n:03}" for n in range(5)])
    assert len(few["training"]) == 5 and few["test"] == []


def test_a_chosen_patient_is_no_test_patient() -> None:
    whole = dataset(20, 0)
    cases = [replace(case, group=f"p{n // 2}") for n, case in enumerate(whole.cases)]
    content = split(replace(whole, cases=cases), labelled=None, test=8, chosen=["c000"])
    assert len(content["test"]) == 8
    assert not {"p0"} & {entry["group"] for entry in content["test"]}
    assert images(content, "training") == {"imagesTr/c000.nii.gz"}


@pytest.mark.parametrize(
    ("chosen", "test", "words"),
    [
        (["c001", "gone"], 0, "1 of 2 chosen scans have no label that can be used, such as gone"),
        (["c050"], 0, "have no label"),  # an image without one
        (["c001", "c049"], "c04*", "1 of 2 chosen scans are test scans, such as c049"),
    ],
    ids=["absent", "unlabelled", "tested"],
)
def test_scans_that_cannot_be_chosen(chosen: list[str], test: float | str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        split(dataset(), labelled=None, test=test, chosen=chosen)


def test_reading(tmp_path: Path) -> None:
    for name in ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    file = tmp_path / "d.json"
    file.write_text(
        json.dumps(
            {
                "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
                "test": [{"image": "imagesTr/gone.nii.gz"}],
            }
        )
    )
    entry = read_datalist(file, tmp_path, "training")[0]
    assert entry == {key: str(tmp_path / f"{key}sTr/a.nii.gz") for key in ("image", "label")}
    with pytest.raises(ConfigError, match=r"gone\.nii\.gz"):
        read_datalist(file, tmp_path, "test")
    with pytest.raises(ConfigError, match="no section 'nobody'; it has training, test"):
        read_datalist(file, tmp_path, "nobody")


def test_labelled_scans_of_the_budget(tmp_path: Path) -> None:
    """Read training and validation, without the measured section and unlabelled entries."""
    pairs = [{"image": f"{n}.nii", "label": f"{n}_seg.nii"} for n in range(4)]
    for pair in pairs:
        for name in pair.values():
            (tmp_path / name).touch()
    content = {
        "training": [*pairs[:2], {"image": "3.nii"}],
        "validation": pairs[2:3],
        "test": pairs[3:],
    }
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(content))

    def named(**more: str) -> list[str]:
        return [Path(entry["image"]).stem for entry in read_labelled(file, tmp_path, **more)]

    assert named() == ["0", "1", "2"] and named(measured="validation") == ["0", "1"]
    assert named(measured="training") == ["2"]
    file.write_text(json.dumps({"training": [{"image": "3.nii"}]}))
    with pytest.raises(ConfigError, match="no labelled scan"):
        named()


@pytest.mark.parametrize("content", ["", "[1]", "{}", "{"])
def test_no_datalist(tmp_path: Path, content: str) -> None:
    file = tmp_path / "d.json"
    with pytest.raises(ConfigError, match="no datalist found"):
        load_datalist(file)
    file.write_text(content)
    with pytest.raises(ConfigError, match=str(file)):
        load_datalist(file)


def test_some_scans_may_be_absent_when_asked(tmp_path: Path) -> None:
    """Accept some absent scans; if all are absent, the folder is wrong."""
    entries = [{"image": f"{n}.nii", "label": f"{n}_seg.nii"} for n in range(2)]
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"training": [], "test": entries}))
    for name in ("0.nii", "0_seg.nii", "1.nii"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="1 scans of section 'test' are not there"):
        read_datalist(file, tmp_path, "test")
    assert len(read_datalist(file, tmp_path, "test", some_absent=True)) == 2
    with pytest.raises(ConfigError, match="set --dataset_dir"):
        read_datalist(file, tmp_path / "elsewhere", "test", some_absent=True)


def test_channels_in_another_order_than_the_networks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    file = tmp_path / "datalist.json"
    content = {"channel_names": ["T1", "FLAIR"], "training": [{"image": "a.nii.gz"}]}
    file.write_text(json.dumps(content))
    for names in (("T1", "FLAIR"), ("other", "names"), ("image",), ()):
        assert len(read_datalist(file, tmp_path, "training", channel_names=names)) == 1
    for read in (read_datalist, read_images):
        with pytest.raises(ConfigError, match=r"(?s)channels T1, FLAIR.*--channels FLAIR,T1"):
            section: Any = "training" if read is read_datalist else ("training",)
            read(file, tmp_path, section, channel_names=["FLAIR", "T1"])
