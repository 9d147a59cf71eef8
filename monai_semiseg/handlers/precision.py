"""Mixed precision: the number format by its name in a config, and training steps in it."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from monai_semiseg.errors import ConfigError

logger = logging.getLogger(__name__)

_CONV3D = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")  # its arguments
_EMULATED = "_emulated"
_NAMES = ("auto", "bfloat16", "float16", f"bfloat16{_EMULATED}", f"float16{_EMULATED}")
# Instructions as torch names them, of x86 and of Arm: each alone is enough.
_INSTRUCTIONS = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "sve_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "avx_ne_convert", "fp16_arith"),
}


def autocast_type(name: str | None, device: torch.device | str) -> torch.dtype | None:
    """Return the number format that a config's ``autocast_dtype`` means on a device.

    Args:
        name: ``None`` for float32 throughout. ``"auto"``: on a GPU bfloat16, or float16 if it has
            no bfloat16; float32 on a CPU, so that masks do not depend on the processor.
            ``"bfloat16"`` or ``"float16"``: float32 where the device has no instructions for it,
            which is logged as a warning. ``"bfloat16_emulated"`` or ``"float16_emulated"``: on
            such devices too; a CPU then takes up to 20 times as long as in float32.
        device: where the network runs.

    Returns:
        torch's type; None for no mixed precision.

    Raises:
        ConfigError: If the name is another one.
    """
    device = torch.device(device)
    if name is None:
        return None
    if name not in _NAMES:
        raise ConfigError(
            f"autocast_dtype is {name!r}", expected=f"null or one of {', '.join(_NAMES)}"
        )
    if name == "auto":
        return _best_of(device)
    dtype: torch.dtype = getattr(torch, name.removesuffix(_EMULATED))
    if name.endswith(_EMULATED) or has_instructions(dtype, device):
        return dtype
    gpu = device.type == "cuda"
    _say(
        f"{torch.cuda.get_device_name(device) if gpu else processor_name()} has no instructions "
        f"for {name}: float32 is used "
        f"(autocast_dtype: {name}{_EMULATED} uses it, at up to 20 times float32's time)"
    )
    return None


def has_instructions(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether a device computes in a format natively, not by emulation.

    oneDNN's own test is true for every AVX-512 processor, also for those that emulate bfloat16 in
    float32, which is not faster; so a CPU's instructions are tested as well.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return dtype is torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    there = _capabilities()
    listed = any(there.get(name, False) for name in _INSTRUCTIONS[dtype])
    return _onednn_has(dtype) and (listed or not there)


def _onednn_has(dtype: torch.dtype) -> bool:
    short = "bf16" if dtype is torch.bfloat16 else "fp16"
    test = getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported", None)
    return bool(test and test())  # a torch without oneDNN has no such test


def _capabilities() -> Mapping[str, Any]:
    """Return the CPU's capabilities; empty if torch has no list: then oneDNN alone is asked."""
    ask: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


def processor_name() -> str:
    """Return the name of the CPU."""
    there = _capabilities()
    return str(there.get("cpu_name") or platform.processor() or platform.machine())


def _best_of(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda":
        return None
    return torch.bfloat16 if has_instructions(torch.bfloat16, device) else torch.float16


@cache
def _say(text: str) -> None:
    """Log a line once, although training and its validation both ask."""
    logger.warning(text)


def autocast(
    device: torch.device | str, dtype: torch.dtype | None
) -> AbstractContextManager[object]:
    """Return torch's autocast; for None, a context without one."""
    return nullcontext() if dtype is None else torch.autocast(torch.device(device).type, dtype)


@contextmanager
def training_precision(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """Enable autocast for steps with a backward pass; do nothing if ``dtype`` is None.

    On a CPU, :class:`SafeConvolutions` keeps the convolutions in float32 whose bfloat16 gradient is
    wrong.
    """
    safe = dtype is not None and device.type == "cpu"
    with autocast(device, dtype), SafeConvolutions() if safe else nullcontext():
        yield


class SafeConvolutions(TorchFunctionMode):
    """Keep 3-D convolutions in float32 whose input's first axis is shorter than their kernel.

    oneDNN's weight gradient for them in bfloat16 reads uninitialised memory (torch 2.13; an input
    of depth d and a kernel of depth k with 1 < d < k). This happens in the lowest stage of a deep
    U-Net, for example on 2 x 3 x 2 voxels with a kernel of 3. These are the smallest convolutions
    of a network, so float32 costs no time there.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one of torch's functions, a short convolution in float32."""
        kwargs = kwargs or {}
        if func is torch.conv3d:
            given = {**dict(zip(_CONV3D, args, strict=False)), **kwargs}
            if given["input"].shape[-3] < given["weight"].shape[-3]:
                with torch.autocast("cpu", enabled=False):
                    return func(**{name: _in_float32(value) for name, value in given.items()})
        return func(*args, **kwargs)


def _in_float32(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value
