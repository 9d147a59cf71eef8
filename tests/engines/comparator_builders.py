"""Trainers of all comparators with what each needs, ready to run or before their first step."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg import engines
from monai_semiseg.engines.mean_teacher import TeacherTrainer
from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.networks.auxiliary import PerturbedDecoders, PyramidHeads

CLASSES = 3
Method = type[SemiSupervisedTrainer]
Batch = Callable[..., dict[str, Tensor]]


def network(dims: int) -> BasicUNet:
    return BasicUNet(dims, 1, CLASSES, features=(4, 4, 8, 8, 16, 4))


def heads(net: nn.Module, dims: int, layers: list[str], outputs: int) -> PyramidHeads:
    return PyramidHeads(net, layers, outputs, [1, *[32] * dims])


def parts(method: Method, net: nn.Module, dims: int) -> dict[str, Any]:
    """Create what a method needs beside the network."""
    if issubclass(method, TeacherTrainer):
        return {"teacher": copy.deepcopy(net)}
    made: dict[Method, Callable[[], dict[str, Any]]] = {
        engines.CrossPseudoSupervisionTrainer: lambda: {"partner": network(dims)},
        engines.CrossConsistencyTrainer: lambda: {
            "decoders": PerturbedDecoders(net, ["conv_0", "down_*"])
        },
        engines.PyramidConsistencyTrainer: lambda: {
            "heads": heads(net, dims, ["upcat_3", "upcat_2"], CLASSES)
        },
        engines.DualTaskConsistencyTrainer: lambda: {
            "head": heads(net, dims, ["upcat_1"], CLASSES - 1),
            "steepness": 20.0,
        },
    }
    return made.get(method, dict)()


def build(
    method: Method, dims: int = 2, batches: Sequence[dict[str, Tensor]] = (), **settings: Any
) -> SemiSupervisedTrainer:
    torch.manual_seed(0)
    net = settings.pop("network", None) or network(dims)
    more = parts(method, net, dims)
    modules = [part for part in (net, *more.values()) if isinstance(part, nn.Module)]
    trained = list(itertools.chain.from_iterable(part.parameters() for part in modules))
    return method(
        device=torch.device("cpu"),
        max_epochs=settings.pop("max_epochs", 1),
        epoch_length=len(batches) or 1,
        train_data_loader=batches,
        network=net,
        optimizer=torch.optim.Adam(trained, lr=settings.pop("lr", 3e-3)),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        **{**more, **settings},
    )


def started(method: Method, dims: int = 2, **settings: Any) -> SemiSupervisedTrainer:
    """Create a trainer as it is before its first step."""
    trainer = build(method, dims, **settings)
    trainer.before_first_step()
    trainer.network.train()
    return trainer
