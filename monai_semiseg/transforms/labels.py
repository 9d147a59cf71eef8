"""Checks of label maps in training and evaluation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_semiseg.datasets.label_checks import (
    count_values,
    require_classes,
    require_values,
    whole_labels,
)
from monai_semiseg.datasets.label_values import class_lookup, shortened
from monai_semiseg.datasets.split import declared_labels, load_datalist
from monai_semiseg.errors import ConfigError, LabelError


class CheckLabeld(MapTransform):
    """Convert the values of a label map to the network's classes, and refuse other values.

    Without it, such a value causes an index error in the loss, or no error at all.

    Args:
        keys: keys of label maps.
        out_channels: number of classes, background included.
        label_values: number of every class in the label files; 0 to ``out_channels`` - 1 if None.
        allow_missing_keys: skip absent keys.

    Raises:
        ConfigError: If ``label_values`` does not have one number per class.
    """

    def __init__(
        self,
        keys: KeysCollection,
        out_channels: int,
        label_values: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = list(range(out_channels)) if label_values is None else list(label_values)
        if len(self.values) != out_channels:
            raise ConfigError(
                f"label_values {self.values}, out_channels {out_channels}",
                expected="one number for every output",
                remedy="run monai-semiseg plan and merge its YAML, or set both",
            )
        self.consecutive = self.values == list(range(out_channels))
        self._lookup = torch.from_numpy(class_lookup(self.values))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check, and return the item with classes.

        Values are rounded, because the loss would cut 0.9999 of a rescaled file to 0.

        Raises:
            LabelError: If a value is not a whole number (to 0.001) of ``label_values``.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            values = torch.unique(torch.as_tensor(item[key]))
            whole = values.round()
            known = torch.isin(whole.double(), torch.as_tensor(self.values).double())
            fits = ((values - whole).abs() <= 1e-3) & known
            if not fits.all():
                raise self._error(item[key], values[~fits])
            if (values != whole).any():
                item[key] = item[key].round()
            if not self.consecutive:
                classes = self._lookup[torch.as_tensor(item[key]).long()]
                item[key] = convert_to_dst_type(classes, item[key])[0]
        return item

    def _error(self, label: Any, undeclared: Tensor) -> LabelError:
        voxels = torch.as_tensor(label)
        some = [round(float(value), 4) for value in undeclared[:5]]
        counts = [int((voxels == value).sum()) for value in undeclared[:5]]
        expected = f"the label_values {shortened(self.values)}"
        if self.consecutive:
            expected = (
                f"whole numbers from 0 to {self.values[-1]} (out_channels is {len(self.values)})"
            )
        return LabelError(
            f"label values {some} in {counts} voxels",
            expected=expected,
            remedy="run monai-semiseg plan and train with its YAML, or correct the label map"
            + ("; 255 often marks voxels to ignore, which are not supported yet" * (255 in some)),
            path=getattr(label, "meta", {}).get("filename_or_obj"),
        )


class CheckReferenceLabeld(MapTransform):
    """Require that a reference has values of the dataset, and keep them.

    The network may not have a class for all of them.

    Args:
        keys: keys of label maps.
        label_values: numbers of the network's classes in label files.
        datalist: split that may declare further ``labels``; if none are declared, all values that
            can be classes are accepted.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_values: Sequence[int],
        datalist: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        declared = {} if datalist is None else declared_labels(load_datalist(datalist))
        known = dict.fromkeys(label_values, "")
        self.known = set(known)
        self.labels = {**known, **declared} if declared else {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check, and return the item with whole numbers.

        Raises:
            LabelError: If a value is not whole (to 0.001), not declared, or not a class.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            path = str(getattr(item[key], "meta", {}).get("filename_or_obj", ""))
            labels = whole_labels(np.asarray(torch.as_tensor(item[key])), path)
            counts = count_values(labels)
            require_values(counts, self.labels, path)
            if not self.labels and set(counts) - self.known:
                require_classes({}, {path: counts}, path)
            item[key] = item[key].round()
        return item


def with_background(foreground: torch.Tensor) -> torch.Tensor:
    """Add the background to foreground probabilities: ``(B, C - 1, ...)`` to ``(B, C, ...)``."""
    # After interpolation, the sum of the foreground may exceed 1 by a rounding error.
    return torch.cat([(1 - foreground.sum(1, keepdim=True)).clamp_min(0), foreground], 1)
