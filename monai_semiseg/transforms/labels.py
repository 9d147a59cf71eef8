"""Label maps, checked where they enter training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_semiseg.errors import LabelError


class CheckLabeld(MapTransform):
    """Refuse a label map with values that the network has no channel for.

    Without it such a value surfaces as an index error deep in the loss, or not at all.

    Args:
        keys: of label maps.
        out_channels: number of classes, background included.
        allow_missing_keys: pass over absent keys.
    """

    def __init__(self, keys: KeysCollection, out_channels: int, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.out_channels = out_channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check and return the item unchanged.

        Raises:
            LabelError: If a value is not a whole number from 0 to ``out_channels`` - 1.
        """
        for key in self.key_iterator(data):
            values = torch.unique(torch.as_tensor(data[key]))
            bad = [float(v) for v in values if v != v.round() or not 0 <= v < self.out_channels]
            if bad:
                raise LabelError(
                    f"label values {bad[:5]}",
                    expected=f"whole numbers from 0 to {self.out_channels - 1} (out_channels is {self.out_channels})",
                    remedy="run monai-semiseg plan and train with its YAML, or mend the label map",
                    path=getattr(data[key], "meta", {}).get("filename_or_obj"),
                )
        return dict(data)
