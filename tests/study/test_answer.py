"""The answer in words ranks arms fairly, names what it compared, and says once what was not run."""

from __future__ import annotations

import pytest

from monai_semiseg.study.answer import answer
from monai_semiseg.study.results import Row, summarise


def rows_of(dice: dict[str, dict[int, float]], labelled: int = 4, cases: int = 12) -> list[Row]:
    """Return rows of arms with a Dice per split.

    Cases differ by 0.001, arms by less in each case.
    """
    rows = []
    for number, (arm, splits) in enumerate(dice.items()):
        for split, value in splits.items():
            for case in range(cases):
                score = value + 1e-3 * case + 1e-4 * (case % 3) * number
                rows.append(
                    Row(arm, labelled, split, 0, f"c{case:02}", "1", "x", (score, 0.9, 2, 1))
                )
    return rows


def said(dice: dict[str, dict[int, float]], full: int = 160) -> list[str]:
    rows = rows_of(dice)
    return answer(rows, summarise(rows), full)


def test_an_easy_split_makes_no_best_arm() -> None:
    """Rank an arm with an easy split only by that split, not by its larger mean."""
    first, *_ = said(
        {"supervised": {0: 0.80, 1: 0.86}, "cutmix": {1: 0.865}, "propagation": {0: 0.82, 1: 0.87}}
    )
    assert (
        "from propagation (ranked on split 1 seed 0, which every arm has; 0.8507 over its own 2)"
        in first
    )
    assert "the best mean Dice is 0.8757," in first  # of that split, as the ranking is
    assert (
        "over 2 splits (better on 2), training seeds for each: 1" in first
        and "against supervised" in first
    )


def test_nothing_shared_is_said() -> None:
    first, *_ = said({"supervised": {0: 0.80}, "cutmix": {1: 0.865}})
    assert "no split and seed was finished by every arm" in first


@pytest.mark.parametrize(
    ("better", "words"), [(0.0, "no method that was tried is better"), (0.03, "more than chance")]
)
def test_supervised_learning_from_another_start_is_compared(better: float, words: str) -> None:
    """Check that a start is compared with random weights, by a difference and its interval."""
    first, *_ = said(
        {
            "supervised": {0: 0.80, 1: 0.81},
            "supervised+hebbian": {0: 0.79 + better, 1: 0.80 + better},
        }
    )
    assert words in first


def test_what_was_not_run_is_said_once() -> None:
    sentences = said({"supervised": {0: 0.80}, "cutmix": {0: 0.81}})
    assert len(sentences) == 3 and "with all 160 labels was not run" in sentences[1]
    assert sentences[2].startswith("What the next labels would add cannot be told: fewer than")
    assert sentences[2].endswith("cutmix (1), supervised (1).")


def test_arms_without_a_curve_are_named_in_one_sentence() -> None:
    rows = rows_of({"supervised": {0: 0.754}, "cutmix": {0: 0.81}, "other": {0: 0.79}})
    rows += rows_of({"supervised": {0: 0.848}}, labelled=16) + rows_of(
        {"supervised": {0: 0.932}}, labelled=160
    )
    *_, first, second, _, _ = answer(rows, summarise(rows), 160)
    assert first.startswith("supervised: about ") and second.endswith(
        "fits them: cutmix (1), other (1)."
    )


def test_the_next_labels() -> None:
    """Take the gain of labels to come from the curve: 1 - Dice = 0.5 n^(-0.5) here."""
    rows = []
    for labelled in (4, 16, 64):
        rows += rows_of({"supervised": {0: 1 - 0.5 * labelled**-0.5}}, labelled)
    for more, count in ((None, 32), (10, 10)):
        *_, last = answer(rows, summarise(rows), 160, more)
        assert last.startswith(
            f"supervised: the next {count} labels, 64 to {64 + count}, are expected to add +0.0"
        )
        gain = float(last.split("add ")[1].split(" ")[0])
        assert gain == pytest.approx(0.5 * (64**-0.5 - (64 + count) ** -0.5), abs=0.003)
