"""The gates: whether a table leaves room in which methods can differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monai_semiseg.study.arms import LONGER
from monai_semiseg.study.gates import NO_HEADROOM, check_gates, headroom
from monai_semiseg.study.results import Row
from tests.study.cell_builders import rows_of

FULL = 160


def rows(
    few: float = 0.80, some: float | None = 0.82, whole: float = 0.85, longer: float = 0.8029
) -> list[Row]:
    """Return supervised learning with 4, 16 and all labels, and with twice the iterations."""
    found = rows_of("supervised", 4, {0: few, 1: few}) + rows_of("supervised", FULL, {0: whole})
    found += [] if some is None else rows_of("supervised", 16, {0: some})
    return found + rows_of(LONGER, 4, {0: longer}) + rows_of("other", 4, {0: 0.9})


def said(found: list[Row], fewest: int = 4) -> tuple[list[str], bool]:
    return headroom(check_gates(found, fewest, FULL))


def test_a_table_with_headroom() -> None:
    """Return one sentence with the three figures, on the split that both budgets have."""
    (sentence,), passed = said(rows())
    assert passed and sentence.startswith("Headroom: all 160 labels against 4: +0.0500 [+0.0500,")
    assert "rises with labels (4 to 16: +0.0200, 16 to 160: +0.0300)" in sentence
    assert "twice the iterations with 4 labels change supervised learning by +0.0029" in sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"whole": 0.8099, "some": 0.805}, "+0.0099 [+0.0099, +0.0099], needed is at least +0.01"),
        ({"some": 0.86}, "does not rise at every step with labels (4 to 16: +0.0600, 16 to 160: -"),
        ({"longer": 0.8031}, "by +0.0031 [+0.0031, +0.0031], allowed is a change below 0.003"),
        ({"longer": 0.7968}, "by -0.0032"),
    ],
    ids=str,
)
def test_one_gate_fails(change: dict[str, float], words: str) -> None:
    (sentence,), passed = said(rows(**change))
    assert not passed and sentence.startswith(f"{NO_HEADROOM}: ") and words in sentence


def test_a_gain_that_may_be_chance() -> None:
    """Fail the gate: all labels add 0.05 in the mean, but the cases disagree."""
    found = [one for one in rows(some=None) if (one.arm, one.labelled) != ("supervised", FULL)]
    for number, row in enumerate(rows_of("supervised", FULL, {0: 0.8})):
        dice = row.scores[0] + 0.6 * (number == 0)
        found.append(replace(row, scores=(dice, 0.9, 2.0, 1.0)))
    (sentence,), passed = said(found)
    assert not passed and "with an interval above 0" in sentence


def test_what_was_not_run_is_no_headroom() -> None:
    """Refuse a study of another split, and one without supervised learning."""
    few = rows_of("supervised", 4, {0: 0.8}) + rows_of("other", 4, {0: 0.9})
    sentences, passed = said(few)
    assert not passed and len(sentences) == 3
    assert sentences[0].endswith("supervised learning was not run with both (--gates runs it).")
    assert "one budget at most" in sentences[1] and "not run (--gates" in sentences[2]
    apart = few + rows_of("supervised", FULL, {1: 0.9}) + rows_of(LONGER, 4, {1: 0.8})
    assert len(said(apart)[0]) == 3
    assert len(said(rows_of("other", 4, {0: 0.9}))[0]) == 3
    assert "the only budget is all 160 labels" in said(rows(), fewest=FULL)[0][0]
