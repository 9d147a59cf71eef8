"""Inferer in the precision that the config names, for evaluation and prediction alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from monai_semiseg.handlers.precision import autocast, autocast_type


class AutocastInferer(Inferer):
    """Run an inferer in mixed precision, on any device.

    MONAI's evaluators have ``amp`` for CUDA devices alone.

    Args:
        inferer: the inferer to run.
        device: of the network.
        autocast_dtype: as :func:`~monai_semiseg.handlers.precision.autocast_type` takes it.

    Raises:
        ConfigError: If the format is unknown.
    """

    def __init__(
        self, inferer: Inferer, device: torch.device | str, autocast_dtype: str | None = "auto"
    ) -> None:
        super().__init__()
        self.inferer = inferer
        self.device = torch.device(device)
        self.dtype = autocast_type(autocast_dtype, self.device)

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the inferer's output in float32."""
        with autocast(self.device, self.dtype):
            output = self.inferer(inputs, network, *args, **kwargs)
        return torch.as_tensor(output).float()
