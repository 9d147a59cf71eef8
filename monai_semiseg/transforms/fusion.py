"""Two opinions on one scan: the network's, and the labels that registration carries over from labelled scans."""

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
    """Average the network's probabilities with carried-over labels, then put the decision on the scan's grid.

    With ``z`` the logits and ``p`` the labels of
    :class:`~monai_semiseg.transforms.propagation.PropagateLabelsd` on the same grid, class c has
    the probability::

        q_c = (1 - s) softmax(z)_c + s p_c

    A network that few labels trained and a registration of the same labels err in different places,
    so their mean is better than either (DeepAtlas; Xu and Niethammer, MICCAI 2019, join them in
    training). Where the two have little in common, one of them is lost: the scan is marked with
    ``W_FUSION``.

    Args:
        keys: logits ``(classes, i, j, k)``.
        share: s, 0 to 1.
        propagated_key: ``(classes - 1, i, j, k)``, 0 to 1.
        least_dice: mean foreground Dice between the two, below which a scan is marked.
        settings: of :class:`~monai_semiseg.transforms.restore.LabelOnScanGridd`.

    Raises:
        ConfigError: If ``share`` is out of range.
    """

    def __init__(
        self,
        keys: KeysCollection,
        share: float = 0.5,
        propagated_key: str = "propagated",
        least_dice: float = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(keys, **settings)
        if not 0 <= share <= 1:
            raise ConfigError(f"share {share} of carried-over labels", expected="0 to 1")
        self.share, self.propagated_key, self.least_dice = share, propagated_key, least_dice

    @property
    def identity(self) -> str:
        """What a result depends on beside the item."""
        return f"share {self.share}"

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by labels ``(1, i, j, k)``, uint8 or int32, with the scan's affine."""
        out = dict(data)
        for key in self.key_iterator(out):
            logits = torch.as_tensor(
                out[key].as_tensor() if isinstance(out[key], MetaTensor) else out[key]
            )
            carried = torch.as_tensor(out[self.propagated_key]).to(logits.device, logits.dtype)
            network, registered = torch.softmax(logits[None], 1), with_background(carried[None])
            self._compare(network, registered, out[self.orig_keys])
            out[key] = torch.lerp(network, registered, self.share)[0].log()
        return super().__call__(out)

    def _compare(self, network: Tensor, registered: Tensor, image: Any) -> None:
        pair = (
            one_hot(found.argmax(1, keepdim=True), found.shape[1])
            for found in (network, registered)
        )
        dice = float(compute_dice(*pair, include_background=False, ignore_empty=False).mean())
        if dice < self.least_dice:
            warn(
                Path(image.meta.get("filename_or_obj", "scan")),
                "W_FUSION",
                f"network and registered labels have a Dice of {dice:.2f} (expected {self.least_dice}): look at the "
                "mask",
            )
