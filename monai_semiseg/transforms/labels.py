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

from monai_semiseg.datasets.datalist import declared_labels, load_datalist
from monai_semiseg.datasets.label_checks import (
    count_values,
    require_classes,
    require_values,
    whole_labels,
)
from monai_semiseg.datasets.label_values import (
    DECLARE_IGNORE,
    IGNORE,
    class_lookup,
    ignore_value,
    require_one_ignore,
    shortened,
)
from monai_semiseg.errors import ConfigError, LabelError


class CheckLabeld(MapTransform):
    """Convert the values of a label map to the network's classes, and refuse other values.

    Without it, such a value causes an index error in the loss, or no error at all. Voxels with the
    number that the datalist's ``labels`` call ``ignore`` become -1.

    Args:
        keys: keys of label maps.
        out_channels: number of classes, background included.
        label_values: number of every class in the label files; 0 to ``out_channels`` - 1 if None.
        datalist: split whose ``labels`` say which number is ``ignore``; if None, none is.
        allow_missing_keys: skip absent keys.

    Raises:
        ConfigError: If ``label_values`` does not have one number per class, or has the number of
            ``ignore``.
        LabelError: If ``ignore`` is 0, or several labels are called so.
    """

    def __init__(
        self,
        keys: KeysCollection,
        out_channels: int,
        label_values: Sequence[int] | None = None,
        datalist: str | None = None,
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
        self.ignore = _ignored_number(_labels_of(datalist), self.values, datalist)
        self.known = [*self.values, *([] if self.ignore is None else [self.ignore])]
        self._lookup = torch.from_numpy(class_lookup(self.values, self.ignore))

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
            known = torch.isin(whole.double(), torch.as_tensor(self.known).double())
            fits = ((values - whole).abs() <= 1e-3) & known
            if not fits.all():
                raise self._error(item[key], values[~fits])
            if (values != whole).any():
                item[key] = item[key].round()
            if not self.consecutive or self.ignore is not None:
                classes = self._lookup[torch.as_tensor(item[key]).long()]
                # Unsigned numbers have no -1.
                kind = None if self.ignore is None else torch.float32
                item[key] = convert_to_dst_type(classes, item[key], dtype=kind)[0]
        return item

    def _error(self, label: Any, undeclared: Tensor) -> LabelError:
        voxels = torch.as_tensor(label)
        some = [round(float(value), 4) for value in undeclared[:5]]
        counts = [int((voxels == value).sum()) for value in undeclared[:5]]
        expected = f"the label_values {shortened(self.known)}"
        if self.consecutive and self.ignore is None:
            expected = (
                f"whole numbers from 0 to {self.values[-1]} (out_channels is {len(self.values)})"
            )
        return LabelError(
            f"label values {some} in {counts} voxels",
            expected=expected,
            remedy="run monai-semiseg plan and train with its YAML, or correct the label map"
            + (f"; 255 often marks voxels to ignore: {DECLARE_IGNORE}" * (255 in some)),
            path=getattr(label, "meta", {}).get("filename_or_obj"),
        )


class CheckReferenceLabeld(MapTransform):
    """Require that a reference has values of the dataset, and keep them.

    The network may not have a class for all of them. Voxels to ignore become -1, below a
    negative background.

    Args:
        keys: keys of label maps.
        label_values: numbers of the network's classes in label files.
        datalist: split that may declare further ``labels``; if none are declared, all values that
            can be classes are accepted.
        allow_missing_keys: skip absent keys.

    Raises:
        ConfigError: If ``label_values`` has the number of ``ignore``.
        LabelError: If ``ignore`` is 0, or several labels are called so.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_values: Sequence[int],
        datalist: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        declared = _labels_of(datalist)
        self.ignore = _ignored_number(declared, label_values, datalist)
        known = {value: "background" if value < 0 else "" for value in label_values}
        self.known = set(known)
        self.labels = {**known, **declared} if declared else {}
        self.ignored = min(0, *known) + IGNORE

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
            if self.ignore is not None:
                item[key][item[key] == self.ignore] = self.ignored
        return item


class IgnoredAsBackgroundd(MapTransform):
    """Make voxels of class -1 background, in the label and in the prediction.

    So they count in no metric of the foreground.

    Args:
        keys: predictions ``(classes, spatial...)``, such as logits, of which the largest counts.
        label_key: class indices ``(1, spatial...)``, -1 where they are unknown.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label") -> None:
        super().__init__(keys)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item without ignored voxels."""
        item = dict(data)
        label = item[self.label_key]
        ignored = torch.as_tensor(label < 0)
        if ignored.any():
            for key in self.key_iterator(item):
                background = torch.zeros_like(item[key])
                background[0] = 1
                item[key] = torch.where(ignored.to(background.device), background, item[key])
            item[self.label_key] = torch.clamp(label, min=0)
        return item


def _labels_of(datalist: str | None) -> dict[int, str]:
    return {} if datalist is None else declared_labels(load_datalist(datalist))


def _ignored_number(
    labels: Mapping[int, str], values: Sequence[int], datalist: str | None
) -> int | None:
    """Return the number of voxels to ignore; refuse one that is a class of the network."""
    require_one_ignore(labels, datalist)
    ignore = ignore_value(labels)
    if ignore is not None and ignore in values:
        raise ConfigError(
            f"label {ignore} is called {labels[ignore]!r}, and label_values {shortened(values)} "
            "have a class for it",
            expected="no class for voxels to ignore",
            remedy="run monai-semiseg plan and merge its YAML",
            path=datalist,
        )
    return ignore


def with_background(foreground: torch.Tensor) -> torch.Tensor:
    """Add the background to foreground probabilities: ``(B, C - 1, ...)`` to ``(B, C, ...)``."""
    # After interpolation, the sum of the foreground may exceed 1 by a rounding error.
    return torch.cat([(1 - foreground.sum(1, keepdim=True)).clamp_min(0), foreground], 1)
