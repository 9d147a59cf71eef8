"""Check of a network's output: numbers that are none would become background in a mask."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from monai_semiseg.errors import NonFiniteError


def require_finite(output: Tensor, path: str | Path | None) -> None:
    """Refuse a network's output that ``argmax`` would silently turn into background.

    Args:
        output: of the network.
        path: of the image, for the error.

    Raises:
        NonFiniteError: If it holds NaN or infinite numbers.
    """
    if not torch.isfinite(output).all():
        raise NonFiniteError(
            "the network's output holds NaN or Inf",
            expected="finite numbers",
            remedy="check the scan's intensities",
            path=path,
        )
