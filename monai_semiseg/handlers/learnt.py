"""One line at the end of a training: the share of weights that were learnt, and the rest."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events
from torch import Tensor, nn

from monai_semiseg.networks.learnt import Learnt, learnt_since, snapshot

logger = logging.getLogger(__name__)


class LearntWeights:
    """MONAI handler that says which weights a training without labels has changed.

    Local rules learn convolutions only, and contrast learns the layers up to the one that it sees:
    a start from either leaves some weights as they were drawn. Put it after the handlers that load
    weights.

    Args:
        network: whose weights are compared.
        write: whether this process says it.
    """

    def __init__(self, network: nn.Module, write: bool = True) -> None:
        self.network = network
        self.write = write
        self.learnt: Learnt | None = None
        self._start: dict[str, Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Copy the weights at the start, compare them at the end."""
        if self.write:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(Events.COMPLETED, self._compare)

    def _begin(self, _: Engine) -> None:
        self._start = snapshot(self.network)

    def _compare(self, _: Engine) -> None:
        self.learnt = learnt_since(self._start, self.network)
        self._start = {}
        if self.learnt.changed:  # nothing changes where a finished training is resumed
            logger.warning("%s", self.learnt)
