"""Sliding window of nnU-Net, by nnU-Net's own code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from monai_semiseg.datasets.nnunet_files import nnunet_module
from monai_semiseg.datasets.nnunet_plans import NnunetPlans


class NnunetInferer(Inferer):
    """Run a network over windows as ``nnUNetv2_predict`` does.

    Windows are spread evenly, with a step of at most half a window, weighted by a Gaussian, and
    averaged over mirrored inputs. MONAI's windows have other positions, and its weights another
    Gaussian. A 2-D network goes over all slices.

    Args:
        plans: content of the plans file.
        configuration: its name in them.
        dataset: ``labels`` and, for regions, ``regions_class_order``, as in ``dataset.json``.
        mirror_axes: spatial axes that the training mirrored, as its checkpoint says.
        tile_step_size: step of the windows, as a share of their size.
    """

    def __init__(
        self,
        plans: Mapping[str, Any],
        configuration: str,
        dataset: Mapping[str, Any],
        mirror_axes: Sequence[int] = (),
        tile_step_size: float = 0.5,
    ) -> None:
        super().__init__()
        self.plans = NnunetPlans(plans, configuration)
        self.dataset = dict(dataset)
        self.mirror_axes = tuple(mirror_axes)
        self.tile_step_size = tile_step_size

        self._predictor: Any = None

    @property
    def identity(self) -> str:
        """Return the settings that a result depends on."""
        plans = f"{self.plans.content.get('plans_name')}:{self.plans.configuration}"
        return f"{plans}, mirrored {list(self.mirror_axes)}, step {self.tile_step_size}"

    def __call__(self, inputs: Tensor, network: nn.Module, *_: Any, **__: Any) -> Tensor:
        """Return logits ``(B, classes, z, y, x)`` for images ``(B, channels, z, y, x)``."""
        if self._predictor is None or self._predictor.device != inputs.device:
            self._predictor = self._new_predictor(inputs.device)
        self._predictor.network = network
        plain = torch.as_tensor(inputs).as_subclass(Tensor)
        predict = self._predictor.predict_sliding_window_return_logits  # of one image
        logits = [predict(image) for image in plain]
        return logits[0][None] if len(logits) == 1 else torch.stack(logits)  # one is not copied

    def _new_predictor(self, device: torch.device) -> Any:
        """Build nnU-Net's predictor, without its remark about CPUs and its choice for cuDNN."""
        module = nnunet_module("nnunetv2.inference.predict_from_raw_data")
        benchmark = torch.backends.cudnn.benchmark
        with contextlib.redirect_stdout(io.StringIO()):
            predictor = module.nnUNetPredictor(
                tile_step_size=self.tile_step_size,
                use_mirroring=bool(self.mirror_axes),
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
        torch.backends.cudnn.benchmark = benchmark  # it would choose other kernels in each run
        predictor.configuration_manager = self.plans.settings
        predictor.label_manager = self.plans.manager.get_label_manager(self.dataset)
        predictor.allowed_mirroring_axes = self.mirror_axes or None
        return predictor
