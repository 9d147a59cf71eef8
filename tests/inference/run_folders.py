"""An oblique grid, and what a run over a folder left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from monai_semiseg.inference.runner import BatchRunner

Make = Callable[..., BatchRunner]


def oblique() -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (11, -8, 23), degrees=True).as_matrix() @ np.diag(
        [0.9, 1.1, 2.0]
    )
    matrix[:3, 3] = (-31.5, 12.25, 7.125)
    return matrix


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def by_input(folder: Path, root: Path) -> dict[str, dict[str, Any]]:
    return {str(Path(row["input"]).relative_to(root)): row for row in report(folder)["cases"]}


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
