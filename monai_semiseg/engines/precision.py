"""The number format of mixed precision, by name, as a config has it."""

from __future__ import annotations

import torch

from monai_semiseg.errors import ConfigError


def autocast_type(name: str | None) -> torch.dtype | None:
    """``"float16"`` or ``"bfloat16"`` as torch's type; None stays None: no mixed precision.

    Raises:
        ConfigError: If it is neither.
    """
    if name not in (None, "float16", "bfloat16"):
        raise ConfigError(f"autocast_dtype is {name!r}", expected="null, 'float16' or 'bfloat16'")
    return None if name is None else getattr(torch, name)
