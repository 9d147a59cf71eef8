"""Scores of one case: what a worker sends to the one that writes the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monai_semiseg.evaluation.metrics import Scale
from monai_semiseg.evaluation.summary import ScoreRow
from monai_semiseg.export.preview import Preview


@dataclass(frozen=True)
class CaseScores:
    """Scores of a case.

    Attributes:
        case: its name.
        path: its label file.
        scale: in which it is measured.
        rows: a score for each class; none if the label says of no voxel what it is.
        others: labels of the reference that the network has no class for -> name.
        mean: of Dice over the classes.
        preview: its picture.
    """

    case: str
    path: str
    scale: Scale
    rows: tuple[ScoreRow, ...] = ()
    others: Mapping[int, str] = field(default_factory=dict)
    mean: float = 1.0
    preview: Preview | None = None


def worst_of(scores: Iterable[CaseScores], count: int) -> list[CaseScores]:
    """Return the cases with the lowest Dice, the worst first; of equals, those that came first."""
    return sorted(scores, key=lambda one: one.mean)[:count]
