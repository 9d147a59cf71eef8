"""Mixed precision: the number format by name, as a config has it, and a training step in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from monai_semiseg.errors import ConfigError


def autocast_type(name: str | None) -> torch.dtype | None:
    """``"float16"`` or ``"bfloat16"`` as torch's type; None stays None: no mixed precision.

    Raises:
        ConfigError: If it is neither.
    """
    if name not in (None, "float16", "bfloat16"):
        raise ConfigError(f"autocast_dtype is {name!r}", expected="null, 'float16' or 'bfloat16'")
    return None if name is None else getattr(torch, name)


@contextmanager
def training_precision(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """Autocast for steps with a backward pass; nothing if ``dtype`` is None.

    On a CPU, :class:`SafeConvolutions` keeps the convolutions in float32 whose bfloat16 gradient is
    wrong.
    """
    if dtype is None:
        yield
        return
    with (
        torch.autocast(device.type, dtype),
        SafeConvolutions() if device.type == "cpu" else nullcontext(),
    ):
        yield


class SafeConvolutions(TorchFunctionMode):
    """Keep 3-D convolutions in float32 whose input's first axis is shorter than their kernel.

    The weight gradient that oneDNN gives for them in bfloat16 reads memory nobody wrote (torch
    2.13; an input of depth d and a kernel of depth k with 1 < d < k): a deep U-Net meets it at its
    lowest stage, on 2 x 3 x 2 voxels and a kernel of 3. They are the smallest convolutions of a
    network, so float32 costs nothing there.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one of torch's functions, a short convolution in float32."""
        if func is torch.conv3d:
            names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
            given = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
            if given["input"].shape[-3] < given["weight"].shape[-3]:
                tensors = {
                    name: value.float()
                    for name, value in given.items()
                    if isinstance(value, torch.Tensor)
                }
                with torch.autocast("cpu", enabled=False):
                    return func(**{**given, **tensors})
        return func(*args, **(kwargs or {}))
