"""Matching of weights with a network, and loading of those that fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.inflation import adapted, shape_text
from monai_semiseg.networks.weight_files import (
    check_published,
    few_of,
    read_state_dict,
    without_wrappers,
)

logger = logging.getLogger(__name__)
# Attributes under which a training's module holds the network.
_ATTRIBUTES = ("model.", "net.", "network.", "_model.")


@dataclass(frozen=True)
class Match:
    """Result of loading: tensors that were loaded, missing or unused.

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
        text += f"; missing or of another shape: {few_of(self.missing)}" if self.missing else ""
        return text + (f"; not used: {few_of(self.unused)}" if self.unused else "")


def load_weights(network: nn.Module, path: str | Path, *, strict: bool = False) -> Match:
    """Load all tensors that agree in name and shape, and log how many, and what differs.

    Without ``strict``, weights for other axes (2-D, 3-D) or input channels are fitted first, as
    :func:`~monai_semiseg.networks.inflation.adapted` describes.

    Args:
        network: any network; a wrapper (DDP, compiled) is looked through.
        path: .pt or .safetensors.
        strict: require exactly the tensors of the network.

    Raises:
        CheckpointError: If nothing matches, or with ``strict`` if anything is missing or left over.
    """
    if strict:
        check_published(path)
    target = unwrapped(network)
    state = named_alike(target, read_state_dict(path))
    if not strict:
        state = adapted(state, target, path)
    match = match_weights(target, state)
    if not match.loaded or (strict and (match.missing or match.unused)):
        shapes = [f"; {name} is {text}" for name, text in _other_shapes(target, state)]
        raise CheckpointError(
            f"the weights do not fit the network: {match}",
            expected=f"weights of the same network{''.join(shapes[:1])}",
            remedy="use the --plan and settings that the weights were trained with; "
            "monai-semiseg weights match compares",
            path=Path(path),
        )
    target.load_state_dict({name: state[name] for name in match.loaded}, strict=False)
    for name, text in _other_shapes(target, state):
        logger.warning("%s: %s is left at its start: %s", path, name, text)
    logger.log(logging.WARNING if match.missing else logging.INFO, "%s: %s", path, match)
    return match


def _other_shapes(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the tensors whose shape differs, each with both shapes as text."""
    seen: set[int] = set()
    for name, own in network.state_dict().items():
        if name in state and state[name].shape != own.shape and own.data_ptr() not in seen:
            seen.add(own.data_ptr())  # some networks have one tensor under two names
            there = shape_text(state[name])
            yield name, f"{there} in the file, {shape_text(own)} in the network"


def named_alike(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove a foreign training's prefix (``model.``) from tensor names if no name fits with it.

    The change is logged. The network has to decide: some networks' own names begin so too.

    Args:
        network: whose names are wanted.
        state: tensors by name.

    Returns:
        The tensors under that prefix by the network's names; all tensors if no prefix helps.
    """
    own = set(unwrapped(network).state_dict())
    found = dict(state)
    prefix = ""
    for _ in range(2):  # a module in a module
        if not own.isdisjoint(found):
            break
        inner = {front: _within(found, front) for front in _ATTRIBUTES}
        front = max(_ATTRIBUTES, key=lambda name: (len(own & inner[name].keys()), len(inner[name])))
        found = inner[front]
        prefix = prefix + front
    if not prefix or own.isdisjoint(found):
        return dict(state)
    left = len(state) - len(found)
    others = f"; {left} others are left out" if left else ""
    logger.warning(
        "foreign weights: prefix %r is removed from %d names%s", prefix, len(found), others
    )
    return found


def _within(state: Mapping[str, Tensor], front: str) -> dict[str, Tensor]:
    return {
        without_wrappers(name.removeprefix(front)): value
        for name, value in state.items()
        if name.startswith(front)
    }


def match_weights(network: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Return what :func:`load_weights` would load: the tensors that agree in name and shape."""
    own = unwrapped(network).state_dict()
    fitting = [
        name for name, value in state.items() if name in own and own[name].shape == value.shape
    ]
    return Match(
        loaded=tuple(fitting),
        missing=tuple(name for name in own if name not in set(fitting)),
        unused=tuple(name for name in state if name not in set(fitting)),
    )


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network within DistributedDataParallel, torch.compile, both, or neither."""
    while True:
        inner = getattr(network, "_orig_mod", getattr(network, "module", None))
        if not isinstance(inner, nn.Module):
            return network
        network = inner
