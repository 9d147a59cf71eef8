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

from monai_semiseg.cli.terminal import show
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.tables import markdown_table
from monai_semiseg.study.completed_runs import read_study, score_rows
from monai_semiseg.study.selections import LEAST_DRAWS, RANDOM, AgainstDraws, against_draws

# Five strategies that choose at random pass both at 4 data sets and 3 budgets in 6 % of tables.
LEAST_SHARE = 0.7
LEAST_SHARE_OF_EACH = 0.5
LEAST_STUDIES = 4  # of the rule

Studies = Mapping[str, Sequence[AgainstDraws]]


def ranks(studies: Studies) -> str:
    """Return the table of all studies and the sentence about the default.

    Args:
        studies: data set -> its selections against the draws, every strategy at every budget.
    """
    strategies = list(dict.fromkeys(one.selection for rows in studies.values() for one in rows))
    lines = [line for name, rows in studies.items() for line in _lines(name, rows, strategies)]
    shares = {name: _shares(studies, name) for name in strategies}
    means = [f"{np.mean(list(shares[name].values())):.0%}" for name in strategies]
    lowest = [f"{min(shares[name].values()):.0%}" for name in strategies]
    lines.append(["draws beaten, mean", "", "50%", *means])
    lines.append(["draws beaten, lowest data set", "", "", *lowest])
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
    studies = len(next(iter(shares.values())))
    if studies < LEAST_STUDIES:
        return f"default: not decided, the rule needs {LEAST_STUDIES} data sets, here are {studies}"
    chosen = default_of(shares)
    if chosen == RANDOM:
        return (
            f"default: {RANDOM}, since no strategy beats {LEAST_SHARE:.0%} of the draws over all "
            f"data sets and {LEAST_SHARE_OF_EACH:.0%} on each"
        )
    return f"default: {chosen}"


def read_all(folders: Sequence[Path]) -> dict[str, list[AgainstDraws]]:
    """Return the selections of several studies against the draws, by data set.

    Raises:
        ConfigError: If a folder holds no finished study of one arm, two are of one data set, or
            they have other strategies.
    """
    found: dict[str, list[AgainstDraws]] = {}
    for folder in folders:
        name, compared = read_selections(folder)
        if name in found:
            raise ConfigError(
                f"a second study of {name}", expected="one folder for each data set", path=folder
            )
        found[name] = compared
        first = _strategies(next(iter(found.values())))
        if _strategies(compared) != first:
            raise ConfigError(
                f"strategies {', '.join(sorted(_strategies(compared)))}",
                expected=f"those of the first folder: {', '.join(sorted(first))}",
                path=folder,
            )
    return found


def read_selections(folder: Path) -> tuple[str, list[AgainstDraws]]:
    """Return the data set of a study and its selections against the draws.

    Raises:
        ConfigError: If the folder holds no results, a strategy, draw or budget is not finished, or
            there are several arms.
    """
    protocol, cells = read_study(folder)
    compared = against_draws(score_rows(cells))
    if not compared:
        raise ConfigError(
            "no strategy beside random draws", expected="a study with --selections", path=folder
        )
    arms = {one.arm for one in compared}
    budgets = {one.labelled for one in compared}
    expected = len(arms) * len(budgets) * len(_strategies(compared))
    if (
        len(arms) != 1
        or len(compared) != expected
        or any(one.draws < LEAST_DRAWS for one in compared)
    ):
        raise ConfigError(
            f"{len(compared)} selections of {len(arms)} arms at {len(budgets)} numbers of labels",
            expected="a finished study with --selections: one arm, each strategy at each number of "
            f"labels, {LEAST_DRAWS} random draws",
            remedy="run the study to its end",
            path=folder,
        )
    return str(protocol.get("dataset", folder.name)), compared


def _strategies(compared: Sequence[AgainstDraws]) -> set[str]:
    return {one.selection for one in compared}


def main() -> int:
    """Print the table of the folders; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="results of study --selections")
    args = parser.parse_args()
    return show(lambda: ranks(read_all(args.folders)))


if __name__ == "__main__":
    sys.exit(main())
