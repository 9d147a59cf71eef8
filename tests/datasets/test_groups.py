"""Groups: no patient on two sides of a split, and hints of patients that nobody declared."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.check import check_dataset
from monai_semiseg.datasets.datalist import SECTIONS, read_datalist
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset, open_dataset
from monai_semiseg.datasets.split import SIDE, split
from monai_semiseg.errors import ConfigError

SIZES = (1, 3, 2, 5, 1, 4, 2, 2, 6, 1, 3, 2)  # images of each patient


def dataset(grouped: bool = True, unlabelled: int = 0) -> ScanDataset:
    """Return patients of several images; of each, the last ``unlabelled`` ones have no label."""
    cases = [
        DatasetCase(
            f"p{patient:02}_{n}",
            f"images/p{patient:02}_{n}.png",
            None if n >= size - unlabelled else f"labels/p{patient:02}_{n}.png",
            f"p{patient:02}" if grouped else "",
        )
        for patient, size in enumerate(SIZES)
        for n in range(size)
    ]
    return ScanDataset(Path("x"), "d", "", {0: "background", 1: "a"}, cases)


def sides(content: dict[str, Any]) -> dict[str, set[str]]:
    """Return patient -> parts of the split; training and unlabelled images are one part."""
    found: dict[str, set[str]] = {}
    for section in SECTIONS:
        for entry in content[section]:
            side = "training" if section == "unlabeled" else section
            found.setdefault(entry["group"], set()).add(side)
    return found


@pytest.mark.parametrize("unlabelled", [0, 1])
@pytest.mark.parametrize(("labelled", "seed"), itertools.product((2, 6, 0.5, None), (0, 1, 2)))
def test_a_patient_is_on_one_side(labelled: float | None, seed: int, unlabelled: int) -> None:
    content = split(dataset(unlabelled=unlabelled), labelled=labelled, seed=seed, validation=0.3)
    assert all(len(on) == 1 for on in sides(content).values())
    count = sum(len(content[section]) for section in SECTIONS) + len(content.get("left_out", {}))
    assert count == sum(SIZES)
    assert content["split"]["labelled"] == len(content["training"]) + len(content["validation"])
    assert all("label" not in entry for entry in content["unlabeled"])
    held_out = {p for p, on in sides(content).items() if on & {"test", "validation"}}
    for case, reason in content.get("left_out", {}).items():
        assert case[:3] in held_out and reason == SIDE


def test_counts_are_of_images_and_never_exceeded_after_the_first_patient() -> None:
    for asked in range(1, 20):
        content = split(dataset(), labelled=asked, test=7, validation=0)
        (first, *_), found = SIZES, content["split"]["labelled"]
        assert found <= asked or len({e["group"] for e in content["training"]}) == 1
        assert len(content["test"]) <= 7 and first == 1


def test_budgets_of_whole_patients_are_nested() -> None:
    budgets = [split(dataset(), labelled=n, test=7, seed=3, validation=0) for n in (3, 8, 15)]
    for small, large in itertools.pairwise(budgets):
        assert {e["image"] for e in small["training"]} <= {e["image"] for e in large["training"]}
        assert small["test"] == large["test"]
    assert budgets[0] == split(dataset(), labelled=3, test=7, seed=3, validation=0)


def test_a_group_for_each_case_is_a_split_of_cases() -> None:
    """Check that without groups, the split is that of single cases."""
    content = split(dataset(grouped=False), labelled=6, test=7)
    assert len(content["test"]) == 7 and content["split"]["labelled"] == 6
    assert not any("group" in entry for section in SECTIONS for entry in content[section])


def write_pictures(folder: Path, names: list[str]) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255 if kind == "images" else 2, (16, 16), np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    return folder


NAMES = [f"patient{n}_{eye}" for n in range(4) for eye in "ab"]


def test_the_group_of_an_expression(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", NAMES)
    out = tmp_path / "list.json"
    command = ["split", str(root), "--group", r"(patient\d+)_", "--labelled", "2", "--test", "2"]
    assert main([*command, "--output", str(out)]) == 0
    content = json.loads(out.read_text())
    assert all(len(on) == 1 for on in sides(content).values())
    assert {len(content[section]) for section in ("training", "test")} == {2}
    # The group reaches no transform.
    entries = read_datalist(out, root, "training")
    assert [set(entry) for entry in entries] == [{"image", "label"}] * 2


@pytest.mark.parametrize("group", ["(", "patient", r"(nobody\d)"])
def test_expressions_that_find_no_group(tmp_path: Path, group: str) -> None:
    with pytest.raises(ConfigError, match="--group"):
        open_dataset(write_pictures(tmp_path, NAMES), group=group)


def hints(root: Path, group: str | None = None) -> list[str]:
    report = check_dataset(open_dataset(root, group=group), progress=False)
    return [one.message for one in report.findings if one.code == "W_GROUPS"]


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        [f"sub-{n:02}_ses-{visit}" for n in range(4) for visit in (1, 2)],
        ["0007_1", "0007_2", "0008_1"],
        ["case3-left", "case3-right", "case4-left"],
    ],
)
def test_shared_stems_suggest_groups(tmp_path: Path, names: list[str]) -> None:
    write_pictures(tmp_path, names)
    (hint,) = hints(tmp_path)
    assert f"{names[0]} and {names[1]}" in hint and "--group" in hint
    assert hints(tmp_path, r"^(\D*\d+)") == []


@pytest.mark.parametrize(
    "names",
    [
        [f"train_{n}" for n in range(8)],
        [f"ISIC_00{n}" for n in range(10, 18)],
        [f"hippocampus_{n:03}" for n in range(5)],
        [f"BRATS20_{n}" for n in range(5)],  # one stem for all: the name of the data set
        ["p1_a", "p2_a", "p3_a"],
    ],
)
def test_numbered_images_suggest_none(tmp_path: Path, names: list[str]) -> None:
    assert hints(write_pictures(tmp_path, names)) == []


def test_images_that_are_nearly_the_same_suggest_groups(tmp_path: Path) -> None:
    """Save it with other compression; unlike the same voxels, which are told as such."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("one", "two", "three"):
        smooth = np.cumsum(np.cumsum(rng.normal(size=(64, 64, 3)), 0), 1)
        pixels = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    Image.open(tmp_path / "images/two.png").save(tmp_path / "images/again.jpg", quality=95)
    (hint,) = hints(tmp_path)
    assert "1 pairs of images are nearly the same, such as again and two" in hint
