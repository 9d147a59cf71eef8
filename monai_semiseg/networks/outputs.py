"""One map of logits from whatever a network returns: deep supervision gives several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from monai_semiseg.errors import ConfigError


def finest(output: Any, axes: int) -> Tensor:
    """Return the logits of full size among a network's outputs.

    Networks with deep supervision return several maps in training, and some in prediction, too:
    stacked along a second axis with the final one first (DynUNet), as a list from fine to coarse
    (SegResNetDS, nnU-Net's networks), or as a list of maps of one size with the final one last
    (BasicUNetPlusPlus). So it is the first of a stack, and the last of the largest of a list.

    Args:
        output: of a network: a tensor, or several.
        axes: of the images, 2 or 3.

    Returns:
        Logits ``(B, classes, spatial...)``.

    Raises:
        ConfigError: If there is no map.
    """
    if isinstance(output, Tensor):
        return output[:, 0] if output.ndim == axes + 3 else output
    several = output.values() if isinstance(output, dict) else output
    several = several if isinstance(output, dict | list | tuple) else ()
    maps = [one for one in several if isinstance(one, Tensor) and one.ndim == axes + 2]
    if not maps:
        raise ConfigError(
            f"the network returns a {type(output).__name__} without a map of {axes} axes",
            expected="logits (batch, classes, spatial...), or several of them",
        )
    return max(reversed(maps), key=lambda one: one[0, 0].numel())


def with_one_output(network: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return a function that runs a network and returns its :func:`finest` output."""

    def run(images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return finest(network(images, *args, **kwargs), images.ndim - 2)

    return run
