"""Training step of supervised learning and all methods: two losses, one update."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.inferers import Inferer
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers.precision import autocast_type, training_precision
from monai_semiseg.handlers.step_output import StepOutput
from monai_semiseg.networks.outputs import finest


def gaussian_ramp(iteration: int, length: int) -> float:
    """Return the ramp-up of the unlabelled loss: ``exp(-5 (1 - t/T)^2)`` for t < T, then 1.

    Laine and Aila, Temporal ensembling (ICLR 2017).
    """
    return 1.0 if iteration >= length else math.exp(-5 * (1 - iteration / length) ** 2)


class SemiSupervisedTrainer(SupervisedTrainer):
    """Trainer for ``L_s(labelled) + w ramp(t) L_u(unlabelled)``; without L_u, supervised learning.

    A method overrides :meth:`losses` and, if it keeps a teacher, :meth:`after_step`. A batch holds
    ``image`` and ``label`` ``(B, 1, spatial...)`` and, with
    :class:`~monai_semiseg.samplers.seeded.PairedSamples`, as many unlabelled scans in two views of
    the same geometry: ``weak`` (spatial augmentation only) and ``strong`` (intensity augmentation
    as for labelled images, too).

    Args:
        device: where the step runs.
        max_epochs, epoch_length: the budget, in iterations of ``epoch_length`` between two
            validations.
        train_data_loader: batches as above.
        network: the network to train.
        optimizer: of all trained parameters.
        loss_function: the supervised loss of logits and class indices.
        unlabelled_weight: w above.
        ramp_iterations: T of :func:`gaussian_ramp`.
        inferer: applies the network to images; MONAI's ``SimpleInferer`` if None.
        train_handlers: MONAI handlers.
        autocast_dtype: as :func:`~monai_semiseg.handlers.precision.autocast_type` takes it; losses
            stay in float32.
        accumulation_steps: batches whose gradients are averaged before an optimiser step; the last
            of an epoch steps in any case.
        compiled: run the network through ``torch.compile``.

    Raises:
        ConfigError: If a setting is out of range, or asks for float16 on a CPU.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        epoch_length: int,
        train_data_loader: Iterable[Any],
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: nn.Module,
        unlabelled_weight: float = 1.0,
        ramp_iterations: int = 0,
        inferer: Inferer | None = None,
        train_handlers: Sequence[Any] | None = None,
        autocast_dtype: str | None = None,
        accumulation_steps: int = 1,
        compiled: bool = False,
    ) -> None:
        self.autocast_dtype = _autocast_with_gradients(autocast_dtype, device)
        if unlabelled_weight < 0 or ramp_iterations < 0 or accumulation_steps < 1:
            raise ConfigError(
                f"unlabelled_weight {unlabelled_weight}, ramp_iterations {ramp_iterations}, "
                f"accumulation_steps {accumulation_steps}",
                expected="neither negative, at least 1 step",
            )
        self.unlabelled_weight = unlabelled_weight
        self.ramp_iterations = ramp_iterations
        # float16 needs its gradients scaled; bfloat16 has the range of float32.
        scaled = self.autocast_dtype is torch.float16 and torch.device(device).type == "cuda"
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            network,
            optimizer,
            loss_function,
            epoch_length,
            inferer=inferer,
            train_handlers=train_handlers,
            amp=scaled,
            decollate=False,
            compile=compiled,
            accumulation_steps=accumulation_steps,
        )
        # After the handlers above, so that the network has its initial or resumed weights.
        self.add_event_handler(Events.STARTED, self._begin)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Compute the supervised loss, and the unweighted unlabelled loss or None."""
        return self.loss_function(self.predict(batch[Keys.IMAGE]), batch[Keys.LABEL]), None

    def before_first_step(self) -> None:
        """Prepare a teacher or the like; not called when a training is resumed."""

    def after_step(self, iteration: int) -> None:
        """Update a teacher or the like after an optimiser step, counted from 1."""

    def predict(self, images: Tensor, network: nn.Module | None = None) -> Tensor:
        """Return logits in float32, whatever the precision of the network.

        Of a network with deep supervision, they are the finest.
        """
        output = self.inferer(images, self.network if network is None else network)
        return finest(output, images.ndim - 2).float()

    def predict_both(
        self, batch: dict[str, Tensor], view: str, network: nn.Module | None = None
    ) -> list[Tensor]:
        """Return logits of the labelled images and of one view of the unlabelled ones.

        Both come from one forward pass.
        """
        images = torch.cat([batch[Keys.IMAGE], unlabelled(batch, view)])
        logits = self.predict(images, network)
        return list(torch.split(logits, [len(batch[Keys.IMAGE]), len(batch[view])]))

    def _begin(self, engine: Engine) -> None:
        if engine.state.iteration == 0:
            self.before_first_step()

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> StepOutput:
        device = torch.device(self.state.device)
        batch = {name: value.to(device, non_blocking=True) for name, value in batchdata.items()}
        self.network.train()
        # Counted within an epoch, so that no checkpoint is written between accumulated batches.
        index = (engine.state.iteration - 1) % int(engine.state.epoch_length or 1)
        if index % self.accumulation_steps == 0:
            self.optimizer.zero_grad(set_to_none=True)
        with training_precision(device, self.autocast_dtype):
            supervised, unsupervised = self.losses(batch)
        loss = supervised
        output = {"supervised_loss": supervised.detach()}
        if unsupervised is not None:
            # This step is number state.iteration, counted from 1.
            weight = self.unlabelled_weight * gaussian_ramp(
                engine.state.iteration, self.ramp_iterations
            )
            loss = supervised + weight * unsupervised
            output["unlabelled_loss"] = unsupervised.detach()
        last_of_epoch = index + 1 == engine.state.epoch_length
        alone = not isinstance(self.network, nn.parallel.DistributedDataParallel)
        if unsupervised is not None and last_of_epoch and alone:  # DDP has no autograd.grad
            output["gradient_ratio"] = self._gradient_ratio(supervised, weight * unsupervised)
        self._scaler().scale(loss / self.accumulation_steps).backward()
        if (index + 1) % self.accumulation_steps == 0 or last_of_epoch:
            self._step()
            self.after_step(engine.state.iteration)
        return StepOutput({Keys.LOSS: loss.detach(), **output})

    def _gradient_ratio(self, supervised: Tensor, unsupervised: Tensor) -> Tensor:
        """Return ``|grad w L_u| / |grad L_s|`` over the network; 0 where there is no gradient.

        It is measured once an epoch: a weight at which the ratio is a few per cent does nothing.
        """
        parameters = [value for value in self.network.parameters() if value.requires_grad]
        norms = [_gradient_norm(loss, parameters) for loss in (unsupervised, supervised)]
        # A batch of nothing but voxels to ignore has no supervised gradient.
        return torch.where(norms[1] > 0, norms[0] / norms[1], 0.0)

    def _scaler(self) -> torch.amp.GradScaler:
        return self.scaler or torch.amp.GradScaler(enabled=False)

    def _step(self) -> None:
        self._share_gradients()
        scaler = self._scaler()
        scaler.step(self.optimizer)
        scaler.update()

    def _share_gradients(self) -> None:
        """Average gradients that DDP does not see over all processes.

        These belong to what is trained beside the network.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        shared = isinstance(self.network, nn.parallel.DistributedDataParallel)
        inside = {id(parameter) for parameter in self.network.parameters()} if shared else set()
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) not in inside and parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= dist.get_world_size()


def _gradient_norm(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return the norm of a loss's gradient; its graph is kept for the step."""
    if not loss.requires_grad:
        return torch.zeros((), device=loss.device)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    return nn.utils.get_total_norm(found).to(loss.device)


def _autocast_with_gradients(name: str | None, device: torch.device) -> torch.dtype | None:
    """Return the number format of a step; refuse float16 on a CPU, which cannot scale gradients."""
    if str(name).startswith("float16") and torch.device(device).type == "cpu":
        raise ConfigError(
            "float16 on a CPU",
            expected="null, or 'bfloat16', which needs no scaling of gradients",
        )
    return autocast_type(name, device)


def unlabelled(batch: dict[str, Tensor], view: str) -> Tensor:
    """Return one view of the unlabelled scans of a batch.

    Raises:
        ConfigError: If the batch has none.
    """
    if view not in batch:
        raise ConfigError(
            f"no {view!r} view of unlabelled scans in the batch",
            expected="labelled and unlabelled samples in pairs",
            remedy="set train#dataloader#dataset to @train#paired_samples, "
            "as configs/methods/*.yaml do",
        )
    return batch[view]
