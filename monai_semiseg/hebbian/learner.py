"""Local learning attached to a network by hooks: modules and state dict keys stay unchanged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from monai_semiseg.errors import ConfigError
from monai_semiseg.hebbian.diagnostics import LayerReport, report
from monai_semiseg.hebbian.forms import form_of
from monai_semiseg.hebbian.geometry import Convolution, Geometry
from monai_semiseg.hebbian.layers import selected
from monai_semiseg.hebbian.lengths import filter_lengths, scale_filters
from monai_semiseg.hebbian.plasticity import Sums, observe
from monai_semiseg.hebbian.rules import Rule

logger = logging.getLogger(__name__)


class HebbianLearner:
    """Local learning of every selected convolution from its own input and output.

    Between :meth:`attach` and :meth:`detach`, forward passes are observed: each layer's sums are
    computed when it runs, so no activation is stored. :meth:`step` then changes the weights, ``W <-
    W + rate dW``, or hands ``-dW`` to an optimizer as the gradient, and normalises the filters to
    length 1 if the rule requires it. Under torchrun
    the sums are added up over all processes: several processes learn the same as one with their
    joint batch.

    :meth:`prepare` sets the filters to the rule's length, those of all taps of a transposed
    convolution to one another, and the biases, which do not learn, to 0. Afterwards either
    :func:`~monai_semiseg.hebbian.calibration.calibrate` sets lengths and biases, or
    :meth:`restore_lengths` gives the filters the lengths that they had when the learner was made.
    Layers that a network has, but does not run (FlexibleUNet has one), are set back by the first
    step.

    Args:
        network: any network with convolutions.
        rule: a rule of :mod:`monai_semiseg.hebbian.rules`.
        transposed: form of transposed convolutions, see
            :func:`~monai_semiseg.hebbian.forms.form_of`.
        include: patterns of layers that learn.
        exclude: patterns of layers that do not; None: the output head.
        centre: subtract every layer's mean patch.
        standardise: divide responses by their standard deviation.
        shuffled: control experiment: the entries of every filter's update are permuted at random,
            so that filters move as far but learn nothing.

    Raises:
        ConfigError: If a pattern matches nothing or the network has no convolution.
    """

    def __init__(
        self,
        network: nn.Module,
        rule: Rule,
        *,
        transposed: str = "per_tap",
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] | None = None,
        centre: bool = True,
        standardise: bool = True,
        shuffled: bool = False,
    ) -> None:
        self.network = network
        self.rule = rule
        self.layers: dict[str, Convolution] = selected(network, include, exclude)
        self.forms = {name: form_of(layer, transposed) for name, layer in self.layers.items()}
        self.lengths = {name: filter_lengths(layer) for name, layer in self.layers.items()}
        self.centre = centre
        self.standardise = standardise
        self.shuffled = shuffled
        self.sums: dict[str, list[Sums]] = {}
        self.start: dict[str, Tensor] = {}
        self._last: dict[str, list[Sums]] = {}
        self._drawn: dict[str, list[Tensor]] = {}  # until the first step: as before prepare()
        self._handles: list[RemovableHandle] = []
        self._warned = False

    @torch.no_grad()
    def prepare(self) -> None:
        """Set the filters to the rule's length and the biases to 0."""
        for name, layer in self.layers.items():
            self._drawn[name] = [value.detach().clone() for value in layer.parameters()]
            layer.weight.copy_(self.forms[name].start(layer.weight))
            self._scale(name, self.rule.radius, self.rule.radius)
            if layer.bias is not None:
                layer.bias.zero_()

    def attach(self) -> None:
        """Observe every forward pass from now on."""
        self.start = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}
        for name, layer in self.layers.items():
            self._handles.append(layer.register_forward_hook(self._observer(name)))

    def detach(self) -> None:
        """Stop observing."""
        while self._handles:
            self._handles.pop().remove()
        self.sums = {}

    def restore_lengths(self) -> None:
        """Give the filters the lengths that they had when this learner was made."""
        for name, layer in self.layers.items():
            now = filter_lengths(layer)
            wanted = self.lengths[name].to(now)
            scale_filters(layer, torch.where(now > 0, wanted / now.clamp_min(1e-30), 1.0))

    @torch.no_grad()
    def step(self, rate: float, optimizer: torch.optim.Optimizer | None = None) -> Tensor:
        """Change the weights by what was observed since the last step.

        Args:
            rate: of the update; 1 jumps to a centroid, under SWTA.
            optimizer: of the network's weights; it takes ``-dW`` as their gradient, and its own
                learning rate counts in place of ``rate``.

        Returns:
            The mean change of the filters in this step, relative to their length.

        Raises:
            ConfigError: If nothing was observed, or activations were not finite.
        """
        if not self.sums:
            raise ConfigError(
                "a Hebbian step without a forward pass",
                expected="attach(), then a batch, then step()",
            )
        self._check()
        self._restore_idle()
        before = {name: self.layers[name].weight.clone() for name in self.sums}
        if optimizer is None:
            self._move(rate)
        else:
            self._optimise(optimizer)
        for name in self.sums:
            self._bound(name)
        self._last = self.sums
        self.sums = {}
        moved = [
            (self.layers[name].weight - old).norm() / old.norm() for name, old in before.items()
        ]
        return torch.stack(moved).mean()

    def reports(self) -> dict[str, LayerReport]:
        """Report the state of every layer, by the last step's sums."""
        return {
            name: report(
                self.layers[name],
                self.start[name],
                self.forms[name].banks(self.layers[name].weight),
                sums,
                competitive=self.rule.competitive,
            )
            for name, sums in self._last.items()
        }

    def _move(self, rate: float) -> None:
        for name in self.sums:
            weight = self.layers[name].weight
            weight += (rate * self._change(name)).to(weight.dtype)

    def _optimise(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        for name in self.sums:
            weight = self.layers[name].weight
            weight.grad = -self._change(name).to(weight.dtype)
        optimizer.step()
        optimizer.zero_grad()

    def _change(self, name: str) -> Tensor:
        """Return the rule's update of a layer, from the sums since the last step."""
        change = self.forms[name].update(self.rule, self.sums[name], self.layers[name].weight)
        return _shuffle(change) if self.shuffled else change

    def _observer(self, name: str) -> Any:
        form = self.forms[name]

        @torch.no_grad()
        def hook(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            views = form.views(given[0].detach(), output.detach())
            new = [self._observe(*view) for view in views]
            old = self.sums.get(name)
            self.sums[name] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]

        return hook

    def _observe(self, geometry: Geometry, large: Tensor, small: Tensor) -> Sums:
        return observe(
            self.rule,
            geometry,
            large,
            small,
            centre=self.centre,
            standardise=self.standardise,
            reduce=_over_processes,
        )

    def _restore_idle(self) -> None:
        """Undo :meth:`prepare` for layers that did not run."""
        for name in self._drawn.keys() - self.sums.keys():
            for value, drawn in zip(self.layers[name].parameters(), self._drawn[name], strict=True):
                value.copy_(drawn)
        self._drawn = {}

    def _check(self) -> None:
        """Check that activations are finite and vary, with one transfer from the device."""
        flags = torch.stack([_flags(sums) for sums in self.sums.values()]).tolist()
        for name, (finite, _) in zip(self.sums, flags, strict=True):
            if not finite:
                raise ConfigError(
                    f"layer {name} saw numbers that are not finite",
                    expected="finite activations",
                    remedy="check the scans with monai-semiseg check, lower the rate, "
                    "or switch autocast off",
                )
        constant = [name for name, (_, varies) in zip(self.sums, flags, strict=True) if not varies]
        if constant and not self._warned:
            self._warned = True
            logger.warning(
                "%d layers (%s first) saw constant input: is the batch empty or masked?",
                len(constant),
                constant[0],
            )

    def _bound(self, name: str) -> None:
        """Normalise filters to length 1 if the rule requires it, else to at most initial length.

        In the swapped form a SoftHebb filter that always loses would grow without this bound: its
        length does not change its response.
        """
        self._scale(name, 1.0 if self.rule.spherical else 0.0, self.rule.radius)

    def _scale(self, name: str, least: float, most: float) -> None:
        """Clamp the length of every filter between two bounds."""
        layer = self.layers[name]
        form = self.forms[name]
        banks = []
        for bank in form.banks(layer.weight):
            norm = torch.linalg.vector_norm(bank.flatten(1), dim=1)
            norm = norm.reshape(-1, *[1] * (bank.ndim - 1))
            factor = norm.clamp(least, most) / norm.clamp_min(1e-30)
            banks.append(torch.where(norm > 0, bank * factor, bank))
        layer.weight.copy_(form.weight(banks))


def _flags(sums: Sequence[Sums]) -> Tensor:
    """Return whether all numbers of a layer are finite, and whether any of its outputs vary."""
    finite = torch.stack([one.finite for one in sums]).all()
    varies = torch.stack([one.variance > 0 for one in sums]).any()
    return torch.stack([finite, varies])


def _shuffle(change: Tensor) -> Tensor:
    flat = change.flatten(1)
    # On the CPU, so that one seed gives the same control on every device and in every process.
    order = torch.rand(flat.shape).argsort(1).to(flat.device)
    return flat.gather(1, order).reshape(change.shape)


def _over_processes(tensors: Sequence[Tensor]) -> None:
    if dist.is_available() and dist.is_initialized():
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].reshape(tensor.shape))
            start += tensor.numel()
