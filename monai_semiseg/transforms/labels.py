"""Label maps, checked where they enter training, and probabilities that left the background out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_semiseg.errors import LabelError
from monai_semiseg.images.volume import require_depth


class CheckLabeld(MapTransform):
    """Refuse a label map with values that the network has no channel for.

    Without it such a value surfaces as an index error deep in the loss, or not at all.

    Args:
        keys: of label maps.
        out_channels: number of classes, background included.
        allow_missing_keys: pass over absent keys.
    """

    def __init__(
        self, keys: KeysCollection, out_channels: int, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.out_channels = out_channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check, and return the item with whole numbers; 0.9999 of a rescaled file would be cut to 0 in the loss.

        Raises:
            DimensionError: If the label map is a single slice.
            LabelError: If a value is not a whole number (to 0.001) from 0 to ``out_channels`` - 1.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            if item[key].ndim == 4:  # a channel and three axes
                require_depth(item[key].shape[1:], _file_of(item[key]))
            values = torch.unique(torch.as_tensor(item[key]))
            whole = values.round()
            fits = ((values - whole).abs() <= 1e-3) & (whole >= 0) & (whole < self.out_channels)
            if not fits.all():
                raise LabelError(
                    f"label values {[round(float(value), 4) for value in values[~fits][:5]]}",
                    expected=f"whole numbers from 0 to {self.out_channels - 1} (out_channels is {self.out_channels})",
                    remedy="run monai-semiseg plan and train with its YAML, or mend the label map",
                    path=_file_of(item[key]),
                )
            if (values != whole).any():
                item[key] = item[key].round()
        return item


def _file_of(label: Any) -> Path | None:
    name = getattr(label, "meta", {}).get("filename_or_obj")
    return None if name is None else Path(name)


def with_background(foreground: torch.Tensor) -> torch.Tensor:
    """Probabilities of all classes ``(B, C, spatial...)`` from the foreground's ``(B, C - 1, spatial...)``."""
    # Interpolation may leave the sum of the foreground a rounding error above 1.
    return torch.cat([(1 - foreground.sum(1, keepdim=True)).clamp_min(0), foreground], 1)
