"""Strategies of ``select`` against random draws over several studies, and the default that follows.

Each folder is a finished ``study --selections``. Nothing is trained. The rule was written down
before the first of these studies ran: the default is the strategy that beats the largest share of
the random draws, if that is at least 70 % over all data sets and at least 50 % on each of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_semiseg.cli.terminal import say, say_aside
from monai_semiseg.errors import ConfigError, SemisegError
from monai_semiseg.storage.tables import markdown_table
from monai_semiseg.study.completed_runs import read_study, study_rows
from monai_semiseg.study.selections import RANDOM, AgainstDraws, against_draws

# Five strategies that choose at random pass both at 4 data sets and 3 budgets in 6 % of tables.
LEAST_SHARE = 0.7
LEAST_SHARE_OF_EACH = 0.5

Studies = Mapping[str, Sequence[AgainstDraws]]


def ranks(studies: Studies) -> str:
    """Return the table of all studies and the sentence about the default.

    Args:
        studies: data set -> its selections against the draws, every strategy at every budget.
    """
    strategies = list(dict.fromkeys(one.selection for rows in studies.values() for one in rows))
    lines = [line for name, rows in studies.items() for line in _lines(name, rows, strategies)]
    shares = {name: _shares(studies, name) for name in strategies}
    for label, value in (("mean", np.mean), ("lowest data set", np.min)):
        cells = [f"{value(list(shares[name].values())):.0%}" for name in strategies]
        lines.append([f"draws beaten, {label}", "", "50%" if label == "mean" else "", *cells])
    head = ["data set", "labels", RANDOM, *strategies]
    return f"{markdown_table(head, lines)}\n{_sentence(shares)}\n"


def default_of(shares: Mapping[str, Mapping[str, float]]) -> str:
    """Return the strategy that the rule makes the default.

    Args:
        shares: strategy -> data set -> share of the random draws that it beats, mean over budgets.
    """
    means = {name: float(np.mean(list(of.values()))) for name, of in shares.items()}
    able = [
        name
        for name, of in shares.items()
        if means[name] >= LEAST_SHARE and min(of.values()) >= LEAST_SHARE_OF_EACH
    ]
    return max(able, key=means.__getitem__) if able else RANDOM


def _lines(
    dataset: str, rows: Sequence[AgainstDraws], strategies: Sequence[str]
) -> list[list[object]]:
    lines: list[list[object]] = []
    for labelled in sorted({one.labelled for one in rows}):
        of = {one.selection: one for one in rows if one.labelled == labelled}
        any_one = next(iter(of.values()))
        cells = [f"{of[name].dice:.3f}, {_share(of[name]):.0%}" for name in strategies]
        spread = f"{any_one.draws_mean:.3f} ± {any_one.draws_std:.3f}"
        lines.append([dataset, labelled, spread, *cells])
    return lines


def _shares(studies: Studies, strategy: str) -> dict[str, float]:
    return {
        dataset: float(np.mean([_share(one) for one in rows if one.selection == strategy]))
        for dataset, rows in studies.items()
    }


def _share(one: AgainstDraws) -> float:
    return 1 - one.better / one.draws


def _sentence(shares: Mapping[str, Mapping[str, float]]) -> str:
    chosen = default_of(shares)
    if chosen == RANDOM:
        return (
            f"default: {RANDOM}, since no strategy beats {LEAST_SHARE:.0%} of the draws over all "
            f"data sets and {LEAST_SHARE_OF_EACH:.0%} on each"
        )
    return f"default: {chosen}"


def read_selections(folder: Path) -> tuple[str, list[AgainstDraws]]:
    """Return the data set of a study and its selections against the draws.

    Raises:
        ConfigError: If the folder holds no results, or a strategy or budget is not finished.
    """
    protocol, _ = read_study(folder)
    compared = against_draws(study_rows(folder))
    budgets = {one.labelled for one in compared}
    names = {one.selection for one in compared}
    if not compared or len(compared) != len(budgets) * len(names):
        raise ConfigError(
            f"{len(compared)} selections of {len(budgets)} numbers of labels",
            expected="a finished study with --selections: each strategy at each number of labels",
            remedy="run the study to its end",
            path=folder,
        )
    return str(protocol["dataset"]), compared


def main() -> int:
    """Print the table of the folders; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="results of study --selections")
    args = parser.parse_args()
    try:
        say(ranks(dict(map(read_selections, args.folders))).rstrip("\n"))
    except SemisegError as error:
        say_aside(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
