"""Gates of a study: whether its table leaves room in which methods can differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from monai_semiseg.study.arms import LONGER, REFERENCE
from monai_semiseg.study.results import Row, ScoreTable, paired

LEAST_GAIN = 0.01  # Dice that all labels add to the fewest
LARGEST_CHANGE = 0.003  # Dice that twice the iterations may change
NO_HEADROOM = "no headroom: this table can't rank methods"


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        passed: None if it could not be checked.
        figure: what was found, as text.
    """

    passed: bool | None
    figure: str


def check_gates(rows: Sequence[Row], fewest: int, full: int) -> list[Gate]:
    """Return the gates that a table has to pass before it ranks methods.

    All labels beat the fewest; Dice of supervised learning rises with the number of labels; twice
    the iterations change it little, so that the table does not compare speeds of optimisation.

    Args:
        rows: all rows of the study.
        fewest: smallest budget of the grid.
        full: the budget that is all labels.
    """
    table = ScoreTable(rows)
    return [_all_labels(table, fewest, full), _rise(table), _longer(table, fewest)]


def headroom(gates: Sequence[Gate]) -> tuple[list[str], bool]:
    """Return the sentences about gates, and whether all are passed."""
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        return [f"{NO_HEADROOM}: {gate.figure}." for gate in failed], False
    return ["Headroom: " + "; ".join(gate.figure for gate in gates) + "."], True


def _all_labels(table: ScoreTable, fewest: int, full: int) -> Gate:
    if fewest >= full:
        return Gate(None, f"the only budget is all {full} labels, so nothing is few")
    pairing = paired(table, (REFERENCE, full), (REFERENCE, fewest))
    name = f"all {full} labels against {fewest}"
    if pairing is None:
        return Gate(None, f"{name}: supervised learning was not run with both (--gates runs it)")
    found = pairing.comparison
    passed = found.difference >= LEAST_GAIN and found.interval[0] > 0
    need = "" if passed else f", needed is at least +{LEAST_GAIN} with an interval above 0"
    return Gate(passed, f"{name}: {found.as_text()}{need}")


def _rise(table: ScoreTable) -> Gate:
    """Compare each budget with the next one, on the splits that both have."""
    budgets = table.budgets_of(REFERENCE)
    if len(budgets) < 2:
        return Gate(None, "Dice over labels: supervised learning was run with one budget at most")
    steps = []
    passed: bool | None = True
    for less, more in pairwise(budgets):
        pairing = paired(table, (REFERENCE, more), (REFERENCE, less))
        if pairing is None:
            return Gate(None, f"Dice over labels: no split has both {less} and {more} labels")
        difference = pairing.comparison.difference
        passed = passed and difference > 0
        steps.append(f"{less} to {more}: {difference:+.4f}")
    verb = "rises" if passed else "does not rise at every step"
    return Gate(passed, f"supervised Dice {verb} with labels ({', '.join(steps)})")


def _longer(table: ScoreTable, fewest: int) -> Gate:
    pairing = paired(table, (LONGER, fewest), (REFERENCE, fewest))
    name = f"twice the iterations with {fewest} labels"
    if pairing is None:
        return Gate(None, f"{name}: not run (--gates runs it)")
    found = pairing.comparison
    passed = abs(found.difference) < LARGEST_CHANGE
    need = "" if passed else f", allowed is a change below {LARGEST_CHANGE}"
    return Gate(passed, f"{name} change supervised learning by {found.as_text()}{need}")
