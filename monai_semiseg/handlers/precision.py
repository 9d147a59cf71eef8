"""Mixed precision: the number format by name, as a config has it, and steps in it."""

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
        f"{torch.cuda.get_device_name(device) if gpu else processor_name()} has no instructions for {name}: float32 is used "
        f"(autocast_dtype: {name}{_EMULATED} goes on with it, at up to 20 times float32's time)"
    )
    return None


def has_instructions(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether a device computes in a format itself, and does not only imitate it.

    oneDNN's own test says yes for every AVX-512 processor, also for those that imitate bfloat16 in
    float32 and win no time by it; so a CPU is asked for its instructions as well.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return dtype is torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    there = _capabilities()
    return _onednn_has(dtype) and (
        not there or any(there.get(name, False) for name in _INSTRUCTIONS[dtype])
    )


def _onednn_has(dtype: torch.dtype) -> bool:
    short = "bf16" if dtype is torch.bfloat16 else "fp16"
    test = getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported", None)
    return bool(test and test())  # a torch without oneDNN has no such test


def _capabilities() -> Mapping[str, Any]:
    """What the CPU says of itself; nothing if torch has no list: then oneDNN is asked alone."""
    ask: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


def processor_name() -> str:
    """Return what the CPU calls itself."""
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
    """Autocast for steps with a backward pass; nothing if ``dtype`` is None.

    On a CPU, :class:`SafeConvolutions` keeps the convolutions in float32 whose bfloat16 gradient is
    wrong.
    """
    safe = dtype is not None and device.type == "cpu"
    with autocast(device, dtype), SafeConvolutions() if safe else nullcontext():
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
