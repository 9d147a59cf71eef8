"""Fusion of a network's probabilities with labels propagated by registration."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import Tensor

from monai_semiseg.errors import ConfigError
from monai_semiseg.images.volume import warn
from monai_semiseg.transforms.labels import with_background
from monai_semiseg.transforms.restore import LabelOnScanGridd


class FusedLabelOnScanGridd(LabelOnScanGridd):
    """Average a network's probabilities with propagated labels; return labels on the scan's grid.

    With ``z`` the logits and ``p`` the labels of
    :class:`~monai_semiseg.transforms.propagation.PropagateLabelsd` on the same grid, class c has
    the probability::

        q_c = (1 - s) softmax(z)_c + s p_c

    A network trained on few labels and a registration of the same labels make different errors, so
    their mean is better than either (DeepAtlas, Xu and Niethammer, MICCAI 2019, combines them in
    training). Where p is NaN (unknown), q is the network's alone. If the two differ much, one of
    them has failed: the warning ``W_FUSION`` is issued.

    Args:
        keys: logits ``(classes, i, j, k)``.
        share: s, the weight of the propagated labels, 0 to 1.
        propagated_key: key of the propagated labels ``(classes - 1, i, j, k)``, 0 to 1.
        min_dice: a warning is issued if the mean foreground Dice between the two is lower.
        settings: arguments of :class:`~monai_semiseg.transforms.restore.LabelOnScanGridd`.

    Raises:
        ConfigError: If ``share`` is out of range.
    """

    def __init__(
        self,
        keys: KeysCollection,
        share: float = 0.5,
        propagated_key: str = "propagated",
        min_dice: float = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(keys, **settings)
        if not 0 <= share <= 1:
            raise ConfigError(f"share {share} of propagated labels", expected="0 to 1")
        self.share = share
        self.propagated_key = propagated_key
        self.min_dice = min_dice

    @property
    def identity(self) -> str:
        """Return the settings that a result depends on."""
        return f"share {self.share}"

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by labels ``(1, i, j, k)``, uint8 or int32, with the scan's affine."""
        out = dict(data)
        for key in self.key_iterator(out):
            logits = torch.as_tensor(
                out[key].as_tensor() if isinstance(out[key], MetaTensor) else out[key]
            )
            propagated = torch.as_tensor(out[self.propagated_key]).to(logits.device, logits.dtype)
            network = torch.softmax(logits[None], 1)
            registered = with_background(propagated[None])
            unknown = registered.isnan().any(1, keepdim=True)
            self._compare(network, registered, unknown, out[self.orig_keys])
            mean = torch.lerp(network, registered, self.share)
            out[key] = torch.where(unknown, network, mean)[0].log()
        return super().__call__(out)

    def _compare(self, network: Tensor, registered: Tensor, unknown: Tensor, image: Any) -> None:
        pair = (
            one_hot(found.argmax(1, keepdim=True).masked_fill(unknown, 0), found.shape[1])
            for found in (network, registered)
        )
        dice = float(compute_dice(*pair, include_background=False, ignore_empty=False).mean())
        if dice < self.min_dice:
            warn(
                Path(image.meta.get("filename_or_obj", "scan")),
                "W_FUSION",
                f"network and registered labels have a Dice of {dice:.2f} (expected "
                f"{self.min_dice}): look at the mask",
            )
