"""Weights on disk <-> a network, with the number of matched tensors said and checked."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from monai_semiseg.errors import CheckpointError

logger = logging.getLogger(__name__)
_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


@dataclass(frozen=True)
class Match:
    """What loading did.

    Attributes:
        loaded: names of the tensors that were loaded.
        missing: names in the network that the file does not have, or has in another shape.
        unused: names in the file that the network does not have, or has in another shape.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing)
        text = f"{len(self.loaded)} of {total} tensors loaded"
        text += f"; missing or of another shape: {_few(self.missing)}" if self.missing else ""
        return text + (f"; not used: {_few(self.unused)}" if self.unused else "")


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a .pt or .safetensors file; no code in it is executed.

    A checkpoint with the network under ``network`` or ``model`` works as well as a plain state dict. Prefixes of
    DistributedDataParallel and torch.compile are removed.

    Raises:
        CheckpointError: If the file is absent, damaged, holds more than tensors, or a tensor is not finite.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError("no weights there", expected="a .pt or .safetensors file",
                              remedy="train first, or name the file that holds them", path=file)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, BadZipFile, pickle.UnpicklingError) as error:
        raise CheckpointError("damaged, or more than tensors", expected="a state dict saved by torch or safetensors",
                              remedy="copy the file again; weights that need code to load are refused",
                              path=file) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":
            raise CheckpointError("damaged", expected="a safetensors file", path=file) from error
        raise
    for key in ("network", "model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    state = {_plain(name): value for name, value in content.items() if isinstance(value, Tensor)}
    bad = next((n for n, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()), None)
    if bad is not None:
        raise CheckpointError(f"{bad} holds NaN or Inf", expected="finite weights", path=file)
    return state


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def load_weights(network: nn.Module, path: str | Path, *, strict: bool = False) -> Match:
    """Load all tensors that agree in name and shape, and log how many that were.

    Args:
        network: any network; a wrapper (DDP, compiled) is looked through.
        path: .pt or .safetensors.
        strict: require every tensor of the network.

    Raises:
        CheckpointError: If nothing matches, or with ``strict`` if anything is missing.
    """
    state = read_state_dict(path)
    target = getattr(network, "_orig_mod", network)
    target = getattr(target, "module", target)
    own = target.state_dict()
    fitting = {n: v for n, v in state.items() if n in own and own[n].shape == v.shape}
    match = Match(
        loaded=tuple(fitting),
        missing=tuple(n for n in own if n not in fitting),
        unused=tuple(n for n in state if n not in fitting),
    )
    if not fitting or (strict and match.missing):
        raise CheckpointError(f"the weights do not fit the network: {match}", expected="weights of the same network",
                              remedy="use the config and plan that the weights were trained with", path=Path(path))
    target.load_state_dict(fitting, strict=False)
    logger.info("%s: %s", path, match)
    return match
