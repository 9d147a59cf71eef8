"""Table of a study by selections: each against random draws of as many labelled scans."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically
from monai_semiseg.storage.tables import markdown_table
from monai_semiseg.study.results import Row, ScoreTable

RANDOM = "random"
LEAST_DRAWS = 10


@dataclass(frozen=True)
class AgainstDraws:
    """One selection at one budget, against the random draws at it.

    Attributes:
        arm: way to train.
        labelled: budget.
        selection: name of the selection.
        dice: mean over test cases and training seeds.
        draws: number of finished random draws.
        draws_mean: their mean Dice.
        draws_std: its standard deviation over the draws.
        better: draws that are better than the selection.
    """

    arm: str
    labelled: int
    selection: str
    dice: float
    draws: int
    draws_mean: float
    draws_std: float
    better: int

    @property
    def rank(self) -> str:
        """Return the place of the selection among itself and the draws, the best one being 1."""
        return f"{self.better + 1} of {self.draws + 1}"


def draw_name(number: int) -> str:
    """Return the name of a random draw."""
    return f"{RANDOM}_{number}"


def is_draw(selection: str) -> bool:
    """Return True for the name of a random draw."""
    return re.fullmatch(rf"{RANDOM}_\d+", selection) is not None


def selection_names(strategies: Sequence[str], draws: int) -> list[str]:
    """Return the names of all selections of a study: the random draws, then the strategies.

    Raises:
        ConfigError: If there are fewer than ten draws, or random is among the strategies.
    """
    if draws < LEAST_DRAWS or RANDOM in strategies:
        raise ConfigError(
            f"selections {', '.join(strategies)} with {draws} random draws",
            expected=f"strategies other than {RANDOM}, and at least {LEAST_DRAWS} draws: one draw "
            "says nothing, since draws differ more than strategies do",
        )
    return [*map(draw_name, range(draws)), *dict.fromkeys(strategies)]


def against_draws(rows: Sequence[Row]) -> list[AgainstDraws]:
    """Compare every selection with the random draws of its arm and budget, in a fixed order."""
    table = ScoreTable(rows)
    found = []
    for arm, labelled in sorted(table.scores, key=lambda key: (key[1], key[0])):
        runs = table.runs_of(arm, labelled)
        names = sorted({str(split) for split, _ in runs})
        means = table.by_split(arm, labelled, runs).mean(1)
        dice = dict(zip(names, map(float, means), strict=True))
        draws = [value for name, value in dice.items() if is_draw(name)]
        for name in names:
            if not is_draw(name) and draws:
                found.append(_compared(arm, labelled, name, dice[name], draws))
    return found


def _compared(
    arm: str, labelled: int, name: str, dice: float, draws: Sequence[float]
) -> AgainstDraws:
    spread = float(np.std(draws, ddof=1)) if len(draws) > 1 else float("nan")
    better = sum(draw > dice for draw in draws)
    mean = float(np.mean(draws))
    return AgainstDraws(arm, labelled, name, dice, len(draws), mean, spread, better)


def selections_table(compared: Sequence[AgainstDraws]) -> str:
    """Return a Markdown table: a row for each budget, arm and selection."""
    head = ["labelled", "arm", "selection", "Dice", "random: mean ± sd (draws)", "rank among them"]
    rows = []
    for one in compared:
        spread = f"{one.draws_mean:.4f} ± {one.draws_std:.4f} ({one.draws})"
        rows.append([one.labelled, one.arm, one.selection, f"{one.dice:.4f}", spread, one.rank])
    return markdown_table(head, rows)


def write_selections(rows: Sequence[Row], folder: Path) -> str:
    """Write ``selections.md`` and ``selections.json``, and return the table.

    Args:
        rows: of the finished cells.
        folder: of the study.
    """
    compared = against_draws(rows)
    if not compared:
        return "no selection and random draw of one budget are finished\n"
    text = selections_table(compared)
    write_atomically(folder / "selections.md", text)
    content = [asdict(one) for one in compared]
    write_atomically(folder / "selections.json", json.dumps(content, indent=1) + "\n")
    return text
