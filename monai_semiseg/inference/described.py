"""Settings of transforms and inferers in plain values, to tell runs with other settings apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

# They change how fast masks come, and how much memory that takes, but no mask.
_WITHOUT_EFFECT = {"sw_batch_size", "sw_device", "device", "progress", "slab_mb"}


def described(thing: Any, within: tuple[int, ...] = ()) -> Any:
    """Return a transform, an inferer or a setting of one as JSON can hold it.

    An object is its class and its public attributes, or what its ``identity`` says in their place.
    Random generators, networks and devices are their class alone.

    Args:
        thing: to describe.
        within: ids of the objects that it is an attribute of; those that refer back end there.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, Enum):
        return described(thing.value)
    if isinstance(thing, PurePath | torch.dtype | np.dtype):
        return str(thing)
    if isinstance(thing, torch.Tensor):
        return _numbers(thing.detach().cpu().numpy())
    if isinstance(thing, np.generic | np.ndarray):
        return _numbers(np.asarray(thing))
    if hasattr(thing, "__qualname__"):
        return thing.__qualname__
    if id(thing) in within:
        return type(thing).__qualname__
    within = (*within, id(thing))
    if isinstance(thing, Mapping):
        return {str(key): described(value, within) for key, value in thing.items()}
    if isinstance(thing, list | tuple | range):
        return [described(one, within) for one in thing]
    if isinstance(thing, set | frozenset):
        return sorted(str(described(one, within)) for one in thing)
    if isinstance(thing, partial):
        return described([thing.func, thing.args, thing.keywords], within)
    return _object(thing, within)


def _object(thing: Any, within: tuple[int, ...]) -> Any:
    kind = getattr(thing, "__name__", type(thing).__qualname__)
    if (identity := getattr(thing, "identity", None)) is not None:
        return f"{kind} {identity}".strip()
    is_plain = type(thing).__module__.partition(".")[0] not in ("torch", "numpy", "builtins")
    if not is_plain or isinstance(thing, torch.nn.Module):
        return kind
    settings = {
        name: described(value, within)
        for name, value in getattr(thing, "__dict__", {}).items()
        if not name.startswith("_") and name not in _WITHOUT_EFFECT
    }
    return {kind: settings} if settings else kind


def _numbers(values: np.ndarray[Any, Any]) -> Any:
    """Return a few numbers as they are, many as their shape and hash."""
    if values.size <= 16:
        return values.tolist()
    return [list(values.shape), hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()]
