"""The rule for label files: what declares it, how it is recorded, which names it numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_names import label_name, number_in_file, numbers_of_names
from monai_semiseg.datasets.label_options import with_label_rule
from monai_semiseg.datasets.label_rules import PLAIN, LabelRule, read_labels, recorded_rule
from monai_semiseg.errors import ConfigError

COLOUR = st.integers(0, 2**24 - 1).map("#{:06x}".format)
NAMES = st.text("abc_ ", min_size=1, max_size=5)
RULES = st.builds(
    LabelRule,
    st.none() | st.integers(0, 255) | st.floats(0, 1),
    st.booleans(),
    st.dictionaries(NAMES, COLOUR).filter(lambda some: len({*some.values()}) == len(some)),
    st.dictionaries(NAMES, st.integers(1, 9)),
    st.dictionaries(st.integers(0, 255), COLOUR),
)


@given(RULES)
def test_a_datalist_holds_the_whole_rule(rule: LabelRule) -> None:
    """Keep it in its JSON file, too."""
    content = {"label_rule": rule.record()} if rule.record() else {}
    assert recorded_rule(json.loads(json.dumps(content))) == rule
    assert PLAIN.record() == {}, "datalists of plain numbers do not change"
    assert LabelRule(threshold=0).record() == {"threshold": 0}


@pytest.mark.parametrize(
    "content",
    [
        {"limit": 3},
        {"threshold": "half"},
        {"threshold": float("nan")},
        {"threshold": float("inf")},
        {"palette": {"a": "#"}},
        [1],
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_read(content: object) -> None:
    with pytest.raises(ConfigError, match="label_rule"):
        recorded_rule({"label_rule": content})


@pytest.mark.parametrize(
    ("declared", "labels", "numbers"),
    [
        ({"gland": "#FF0000"}, {0: "background", 1: "gland"}, {"#000000": 0, "#ff0000": 1}),
        ({"#ff0000": "gland"}, {0: "background", 1: "gland"}, {"#000000": 0, "#ff0000": 1}),
        (
            {"b": "#0000ff", "Background": "#ffffff", "a": "#000000"},
            {0: "background", 1: "b", 2: "a"},
            {"#ffffff": 0, "#0000ff": 1, "#000000": 2},
        ),
        (
            {"background": 0, "a": "#00ff00"},
            {0: "background", 1: "a"},
            {"#000000": 0, "#00ff00": 1},
        ),
    ],
    ids=["name first", "colour first", "white background", "number of the background"],
)
def test_colours_are_numbered_in_their_order(
    declared: dict[str, object], labels: dict[int, str], numbers: dict[str, int]
) -> None:
    found, colours = read_labels(declared)
    assert found == labels
    assert LabelRule(colours=colours).colour_numbers == numbers


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"a": "#ff000"}, "cannot be read"),
        ({"a": "#ff0000", "b": "#FF0000"}, "two labels share"),
        ({"a": "#ff0000", "b": 2}, "others without: b"),
        ({"a": "red"}, "labels"),
    ],
)
def test_colours_that_cannot_be_read(declared: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_labels(declared)


def test_numbers_are_read_as_before() -> None:
    expected = {0: "background", 4: "a"}
    assert read_labels({"0": "background", "4": "a"}) == (expected, {})
    assert read_labels({"background": 0, "a": 4}) == (expected, {})
    assert read_labels({}) == ({}, {})


@pytest.mark.parametrize(
    ("stem", "case", "name"),
    [
        ("c1_lesion1", "c1", "lesion"),
        ("c1_lesion_12", "c1", "lesion"),
        ("c1-Lesion", "c1", "Lesion"),
        ("c1_attribute_globules", "c1", "attribute_globules"),
        ("c1_1", "c1", ""),
        ("c1", "c1", ""),
        ("benign (1)_mask", "benign (1)", ""),
        ("benign (1)_mask_1", "benign (1)", ""),
        ("c1_lesion_mask2", "c1", "lesion"),
        ("c1_T2_lesion", "c1", "T2_lesion"),
    ],
)
def test_names_of_files(stem: str, case: str, name: str) -> None:
    """Check that a running number, and a word that only says that it is a mask, are no name."""
    assert label_name(stem, case) == name
    numbers = {name: 7, "another": 8}
    assert number_in_file(Path(f"{stem}.nii.gz"), numbers) == 7


@pytest.mark.parametrize(
    ("names", "labels", "numbers"),
    [
        (["b", "a", "a"], {}, {"a": 1, "b": 2}),
        ([""], {}, {"": 1}),
        (["", "b"], {}, {"": 1, "b": 2}),
        (["b", "a"], {0: "background", 5: "A", 7: "b"}, {"a": 5, "b": 7}),
        (["x_a", "c"], {1: "a", 2: "b"}, {"x_a": 1}),
        (["lesion"], {255: "melanoma"}, {"lesion": 255}),
        ([""], {0: "background", 255: "melanoma"}, {"": 255}),
        (["lesion", "organ"], {3: "lesion"}, {"lesion": 3}),
        ([""], {1: "a", 2: "b"}, {}),
        (["a"], {1: "a", 3: "ignore"}, {"a": 1}),
    ],
    ids=str,
)
def test_numbers_of_names(
    names: list[str], labels: dict[int, str], numbers: dict[str, int]
) -> None:
    assert numbers_of_names(names, labels) == numbers


def dataset(labels: dict[int, str], *files: tuple[str, ...]) -> ScanDataset:
    """Return a dataset of cases c0, c1, ... with these label files."""
    cases = [DatasetCase(f"c{n}", f"images/c{n}.png", label) for n, label in enumerate(files)]
    return ScanDataset(Path("data"), "data", "", labels, cases)


def test_files_name_labels_that_nobody_declared() -> None:
    given_files = [("m/c0_b1.png", "m/c0_b2.png"), ("m/c1_a.png", "m/c1_b.png")]
    found = with_label_rule(dataset({}, *given_files), merge=True)
    assert found.labels == {0: "background", 1: "a", 2: "b"}
    assert found.label_rule == LabelRule(merge=True, numbers={"a": 1, "b": 2})
    assert [case.label for case in found.cases] == given_files


def test_a_name_that_no_label_fits_leaves_its_case_out() -> None:
    labels = {0: "background", 1: "a", 2: "b"}
    files = [("c0_a.png", "c0_b.png"), ("c1_a.png", "c1_other.png")]
    found = with_label_rule(dataset(labels, *files), merge=True)
    assert [case.id for case in found.cases] == ["c0"]
    assert "c1_other.png: the name ends with none of the labels a, b" in found.problems["c1"]


def test_a_threshold_keeps_the_declared_number() -> None:
    found = with_label_rule(dataset({0: "background", 255: "lesion"}, ("c0.png",)), threshold=127)
    assert found.label_rule == LabelRule(127, numbers={"": 255})
    assert with_label_rule(dataset({}, ("c0.png",)), threshold=127).label_rule.foreground == 1
    with pytest.raises(ConfigError, match="the labels a, b"):
        with_label_rule(dataset({1: "a", 2: "b"}, ("c0.png",)), threshold=127)


def test_a_split_decides_and_options_may_not_contradict() -> None:
    rule = LabelRule(127, numbers={"": 3})
    datalist = {"labels": {"0": "background", "3": "lesion"}, "label_rule": rule.record()}
    plain = dataset({}, ("c0.png",))
    for threshold in (None, 127):
        found = with_label_rule(plain, threshold=threshold, datalist=datalist)
        assert (found.label_rule, found.labels[3]) == (rule, "lesion")
    for options in ({"threshold": 100}, {"merge": True}):
        with pytest.raises(ConfigError, match="split with 127"):
            with_label_rule(plain, datalist=datalist, **options)
    assert with_label_rule(plain) is plain
