"""Labels that come back: what is one, and that none is ever lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.labelling.tasks import load_tasks
from tests.labelling.collect_builders import (
    collect,
    collected,
    copy_of,
    corrected,
    give_back,
    tree,
    write_words,
)
from tests.labelling.task_builders import (
    proposal_of,
    task_of,
)


def test_a_corrected_mask_is_a_label_and_a_mere_proposal_is_none(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = load_tasks(place / "tasks")
    before = proposal_of(tasks, "a")
    mask = corrected(tasks, "a")
    give_back(place, "a", mask)
    give_back(place, "b", proposal_of(tasks, "b"))  # saved again, by another program
    untouched = tree(place / "data") | tree(place / "tasks" / "proposals")
    assert collect(place) == 0
    out = capsys.readouterr().out
    assert "1 corrected, 9 unchanged" in out
    assert "or --accept_unchanged" in out  # what an unchanged one lacks to be a label
    labels = collected(place)
    assert sorted(labels) == ["a", "e"] and np.array_equal(labels["a"], mask)
    datalist = load_datalist(place / "tasks" / "datalist.json")
    left = [Path(entry["image"]).name[0] for entry in datalist["unlabeled"]]
    assert left == list("bcfghij")
    assert datalist["labels"] == json.loads((place / "split.json").read_text())["labels"]
    record = json.loads((place / "tasks" / "collected" / "a.json").read_text())
    for value, name in ((1, "left"), (2, "right")):
        one, two = before == value, mask == value
        change = record["changes"][name]
        assert change["dice"] == pytest.approx(
            2 * (one & two).sum() / (one.sum() + two.sum()), abs=1e-6
        )
        assert change["proposed"] == pytest.approx(one.sum() * 3 / 1000)
        assert change["labelled"] == pytest.approx(two.sum() * 3 / 1000)
        assert change["changed"] == (one ^ two).sum()
    assert record["changed"] == (before != mask).sum()
    assert tree(place / "data") | tree(place / "tasks" / "proposals") == untouched


def test_a_second_run_changes_nothing(place: Path) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    assert collect(place) == 0
    first = tree(place)
    assert collect(place) == 0
    assert tree(place) == first
    give_back(place, "c", corrected(tasks, "c"))  # one more comes back later
    assert collect(place) == 0
    assert sorted(collected(place)) == ["a", "c", "e"]
    (place / "tasks" / "a" / "a.seg.nrrd").unlink()  # its label stays
    assert collect(place) == 0
    assert sorted(collected(place)) == ["a", "c", "e"]


@pytest.mark.slow
def test_twenty_kills_lose_no_label(place: Path, count_kills: Callable[..., int]) -> None:
    """Kill at one change of a file after another; the result is that of an unbroken run."""
    tasks = load_tasks(place / "tasks")
    for case in "abcfghij":
        give_back(place, case, corrected(tasks, case))
    whole, before = copy_of(place, "whole"), copy_of(place, "before")
    assert collect(whole) == 0
    kills = sum(
        count_kills(lambda folder=folder: collect(folder), folder / "tasks", step=1)
        for folder in (before, place)
    )
    assert kills >= 20
    labels, expected = collected(place), collected(whole)
    assert "".join(sorted(labels)) == "abcefghij"
    assert all(np.array_equal(labels[case], expected[case]) for case in expected)
    for name in ("datalist.json", "collected.csv", "labels/a.nii.gz", "collected/b.json"):
        one, two = (folder / "tasks" / name for folder in (place, whole))
        assert one.read_text(errors="replace").replace(str(place), "") == two.read_text(
            errors="replace"
        ).replace(str(whole), "")
    assert not list(place.rglob(".part-*"))


@pytest.mark.parametrize(
    ("words", "seen"),
    [("3 to 5; 8", [2, 3, 4, 7]), ("all", range(8)), ("1-2,4..5", [0, 1, 3, 4])],
    ids=["ranges", "all", "other_dashes"],
)
def test_slices_that_were_looked_at(place: Path, words: str, seen: list[int]) -> None:
    """Take them of an untouched proposal, too: whoever names slices has looked at them."""
    tasks = load_tasks(place / "tasks")
    write_words(place, "b", slices=words, minutes="7,5")
    assert collect(place) == 0
    mask = proposal_of(tasks, "b").astype(int)
    mask[:, :, [k for k in range(8) if k not in seen]] = 255
    labels = collected(place)
    assert sorted(labels) == ["b", "e"] and np.array_equal(labels["b"], mask)
    record = json.loads((place / "tasks" / "collected" / "b.json").read_text())
    assert record["minutes"] == 7.5 and record["ignored"] == (mask == 255).sum()
    declared = load_datalist(place / "tasks" / "datalist.json")["labels"]
    assert declared.get("255") == ("ignore" if 255 in mask else None)


def test_an_id_that_a_spreadsheet_changed(place: Path) -> None:
    """Take the row for that of its mask, whose path no spreadsheet takes for a number."""
    tasks = load_tasks(place / "tasks")
    give_back(place, "b", corrected(tasks, "b"))
    table = place / "tasks" / "tasks.csv"
    rows = [f"1;{task_of(tasks, 'b').mask};2 to 3"]  # b, as 001 becomes 1
    table.write_text("\n".join(["id;mask;slices", *rows]))
    assert collect(place) == 0
    assert (collected(place)["b"] != 255).any((0, 1)).nonzero()[0].tolist() == [1, 2]


def test_decisions_of_the_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = load_tasks(place / "tasks")
    give_back(place, "c", corrected(tasks, "c"))
    rows = ["id,decision,time,note", "a/a,rejected,,", "a,accepted,2026,", "b,needs_correction,,"]
    rows += [f"{case},rejected,2026," for case in "cfghij"]
    (place / "tasks" / "proposals" / "decisions.csv").write_text("\n".join(rows) + "\n")
    # d is kept for testing, e has a label
    assert collect(place, "--accept_unchanged") == 3
    captured = capsys.readouterr()
    assert "1 accepted, 1 unchanged, 6 rejected, 2 failed" in captured.out
    labels = collected(place)
    assert sorted(labels) == ["a", "e"] and np.array_equal(labels["a"], proposal_of(tasks, "a"))


def test_from_another_folder(place: Path) -> None:
    """Read other programs' names; images that were sent back as well are passed over."""
    tasks = load_tasks(place / "tasks")
    back = place / "back"
    back.mkdir()
    like = nib.load(place / "data" / "images" / "a.nii.gz").affine
    for case, name in (("a", "a_seg.nii.gz"), ("b", "B-label.nii")):
        nib.save(nib.Nifti1Image(corrected(tasks, case), like), back / name)
    give_back(place, "c", corrected(tasks, "c"), "../back/c/Segmentation.seg.nrrd")
    shutil.copy(place / "data" / "images" / "a.nii.gz", back / "a.nii.gz")
    assert collect(place, "--returned", str(back), "--labels", str(place / "new")) == 0
    labels = collected(place)
    assert sorted(labels) == ["a", "b", "c", "e"]
    assert all(np.array_equal(labels[case], corrected(tasks, case)) for case in "abc")
    assert sorted(path.name for path in (place / "new").iterdir()) == [
        "a.nii.gz",
        "b.nii.gz",
        "c.nii.gz",
    ]


def test_in_place(place: Path) -> None:
    """Extend the datalist itself."""
    tasks = load_tasks(place / "tasks")
    give_back(place, "a", corrected(tasks, "a"))
    for _ in range(2):
        assert collect(place, "--output", str(place / "split.json")) == 0
        assert sorted(collected(place, "split.json")) == ["a", "e"]
