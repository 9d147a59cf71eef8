"""Measures of how much a labeller changed a proposal, label by label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.images.grid import Grid


@dataclass(frozen=True)
class Correction:
    """Hold the change of one label of one case.

    Attributes:
        dice: of the proposal and the label, 0 to 1.
        proposed: size of the label in the proposal: mL or mm2, or voxels or pixels.
        labelled: size in what came back.
        changed: voxels that belong to one of the two alone.
        surface_distance: mean symmetric distance of the two surfaces, in the grid's unit.
    """

    dice: float
    proposed: float
    labelled: float
    changed: int
    surface_distance: float

    def record(self) -> dict[str, Any]:
        """Return the fields, rounded, for a file."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


def corrections_of(
    proposal: NDArray[np.integer[Any]],
    label: NDArray[np.integer[Any]],
    names: Mapping[int, str],
    grid: Grid,
    ignore: int | None = None,
) -> dict[str, Correction]:
    """Compare a proposal with what came back.

    Voxels to ignore count in neither of the two. Empty masks as in
    :func:`~monai_semiseg.evaluation.metrics.score_class`.

    Args:
        proposal: label numbers ``(i, j, k)``.
        label: likewise.
        names: number -> name.
        grid: of both.
        ignore: number of voxels to ignore in ``label``.

    Returns:
        Name -> change.
    """
    from monai_semiseg.evaluation.metrics import score_class

    known = np.ones(label.shape, dtype=bool) if ignore is None else label != ignore
    spacing = voxel_sizes(grid.affine).tolist()
    found = {}
    for number, name in foreground_of(names).items():
        before = (proposal == number) & known
        after = (label == number) & known
        score = score_class(before, after, spacing, unit=grid.unit)
        changed = int((before ^ after).sum())
        found[name] = Correction(score.dice, score.pred_size, score.label_size, changed, score.asd)
    return found
