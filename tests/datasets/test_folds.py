"""Cross-validation among the labelled training scans, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from monai_semiseg.datasets.folds import cross_validation_folds


def datalist(training: int, groups: str = "") -> dict[str, Any]:
    labelled = [{"image": f"i/{n}", "label": f"l/{n}"} for n in range(training)]
    for entry, group in zip(labelled, groups, strict=False):
        entry["group"] = group
    return {
        "name": "d",
        "labels": {"1": "a"},
        "split": {"labelled": training, "seed": 3},
        "training": labelled,
        "unlabeled": [{"image": "i/u"}, {"image": "i/v", "group": "p"}],
        "validation": [{"image": "i/w", "label": "l/w"}],
        "test": [{"image": "i/t", "label": "l/t"}],
    }


def names(fold: dict[str, Any], section: str) -> set[str]:
    return {entry["image"] for entry in fold[section]}


@pytest.mark.parametrize(("training", "count"), [(2, 2), (3, 3), (4, 3), (10, 3), (17, 5)])
def test_every_labelled_scan_is_held_out_once(training: int, count: int) -> None:
    whole = datalist(training)
    folds = cross_validation_folds(whole, count)
    assert len(folds) == count
    held_out = [names(fold, "test") for fold in folds]
    assert sorted(name for one in held_out for name in one) == sorted(names(whole, "training"))
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 1
    for fold in folds:
        assert names(fold, "training") == names(whole, "training") - names(fold, "test")
        assert fold["validation"] == whole["validation"] and fold["labels"] == whole["labels"]
        assert fold["unlabeled"] == whole["unlabeled"]
        assert "i/t" not in str(fold)


def test_few_labels_are_left_out_one_by_one() -> None:
    assert [len(cross_validation_folds(datalist(n), 3)) for n in (1, 2, 3, 4)] == [0, 2, 3, 3]


def test_folds_depend_on_the_split_alone() -> None:
    one, other = datalist(9), datalist(9)
    assert cross_validation_folds(one, 3) == cross_validation_folds(other, 3)
    other["split"]["seed"] = 4
    held_out = [names(fold, "test") for fold in cross_validation_folds(other, 3)]
    assert held_out != [names(fold, "test") for fold in cross_validation_folds(one, 3)]


def test_patients_are_held_out_whole() -> None:
    """Keep unlabelled scans with their patient; two patients are two folds."""
    folds = cross_validation_folds(datalist(6, "ppqqqp"), 3)
    assert {frozenset(names(fold, "test")) for fold in folds} == {
        frozenset({"i/0", "i/1", "i/5"}),
        frozenset({"i/2", "i/3", "i/4"}),
    }
    for fold in folds:
        assert names(fold, "unlabeled") == (
            {"i/u"} if "i/0" in names(fold, "test") else {"i/u", "i/v"}
        )
    assert cross_validation_folds(datalist(3, "ppp"), 3) == []
