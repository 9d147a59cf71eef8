"""Table of simulated rounds: means over seeds, and differences to the random choice."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.benchmarks.round_table import as_markdown, compared
from monai_semiseg.benchmarks.rounds import COLUMNS


def row(strategy: str, seed: int, number: int, voxels: int, dice: float) -> dict[str, object]:
    labels = 4 + 4 * number
    return dict(zip(COLUMNS, (strategy, seed, number, labels, voxels, dice), strict=True))


def test_equal_cost() -> None:
    """Compare round by round at equal labels, on random's curve at equal voxels."""
    rows = [
        row("random", 0, 0, 100, 0.5),
        row("random", 0, 1, 300, 0.7),
        row("random", 1, 0, 100, 0.4),
        row("random", 1, 1, 200, 0.6),
        row("doubt", 0, 0, 100, 0.5),
        row("doubt", 0, 1, 200, 0.8),
        row("doubt", 1, 0, 100, 0.4),
        row("doubt", 1, 1, 150, 0.6),
    ]
    table = {(one["strategy"], one["round"]): one for one in compared(rows)}
    doubt = table["doubt", 1]
    assert doubt["dice"] == pytest.approx(0.7) and doubt["labels"] == 8
    assert doubt["sd"] == pytest.approx(np.std([0.8, 0.6], ddof=1))
    assert doubt["over_random"] == pytest.approx((0.1 + 0.0) / 2)
    assert doubt["over_random_at_equal_voxels"] == pytest.approx((0.2 + 0.1) / 2)
    assert table["random", 1]["over_random"] == pytest.approx(0.0)
    assert "| doubt | 8 | 175 | 0.700 ± 0.141 | +0.050 | +0.150 |" in as_markdown(
        list(table.values())
    )


def test_one_seed_has_no_deviation() -> None:
    table = compared([row("random", 0, 0, 100, 0.5)])
    assert table[0]["sd"] is None
    assert "| random | 4 | 100 | 0.500 | +0.000 | +0.000 |" in as_markdown(table)
