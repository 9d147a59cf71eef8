"""Hebbian initialisation as a MONAI trainer on unlabelled scans."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.inferers import Inferer, SimpleInferer
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers.step_output import StepOutput
from monai_semiseg.hebbian.calibration import calibrate
from monai_semiseg.hebbian.diagnostics import LayerReport, collapse_warning, draw_filters, scalars
from monai_semiseg.hebbian.learner import HebbianLearner

logger = logging.getLogger(__name__)

FILTER_LENGTHS = ("calibrated", "drawn", "learned")


class HebbianTrainer(Trainer):
    """Hebbian learning of every convolution on unlabelled scans, then the lengths of the filters.

    Every iteration is a forward pass without a graph and one step of the learner, at ``rate (1 - t
    / T)``, or through an optimizer. Batches hold ``image`` ``(B, C, spatial...)``; other keys, such
    as labels, are not used. ``engine.state.output["loss"]`` is the mean relative change of the
    filters. Local rules find directions. After the last iteration ``filter_lengths`` says how long
    the filters become, so that the network can be fine-tuned like any other:

    - ``calibrated``: every output is standardised on ``calibration_scans`` scans
      (:func:`~monai_semiseg.hebbian.calibration.calibrate`).
    - ``drawn``: as long as the network was built with. Where normalisation follows a convolution,
      the length does not change the output, but an optimizer turns longer filters less: then
      fine-tuning goes at the pace of the default start.
    - ``learned``: as the rule leaves them.

    Args:
        device: where the forward pass runs.
        network: the network.
        learner: attached to this network; None learns nothing, as a control experiment.
        train_data_loader: batches as above.
        max_epochs, epoch_length: the budget, as in every trainer.
        rate: of the first step; not used with an optimizer.
        optimizer: steps with ``-dW`` as the gradient, see
            :meth:`~monai_semiseg.hebbian.learner.HebbianLearner.step`; None: plain steps.
        lr_scheduler: of this optimizer, stepped after every iteration.
        filter_lengths: ``calibrated``, ``drawn`` or ``learned``, see above.
        calibration_scans: number of samples for calibration.
        inferer: MONAI's ``SimpleInferer`` if None.
        train_handlers: MONAI handlers.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        device: torch.device,
        network: nn.Module,
        learner: HebbianLearner | None,
        train_data_loader: Iterable[Any],
        max_epochs: int,
        epoch_length: int,
        rate: float = 0.1,
        optimizer: torch.optim.Optimizer | None = None,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        filter_lengths: str = "calibrated",
        calibration_scans: int = 8,
        inferer: Inferer | None = None,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        if rate <= 0 or calibration_scans < 1:
            found = f"rate {rate}, calibration_scans {calibration_scans}"
            raise ConfigError(found, expected="both more than 0")
        if filter_lengths not in FILTER_LENGTHS:
            raise ConfigError(
                f"filter_lengths {filter_lengths!r}", expected=f"one of {', '.join(FILTER_LENGTHS)}"
            )
        self.network = network
        self.learner = learner
        self.rate = rate
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.filter_lengths = filter_lengths
        self.calibration_scans = calibration_scans
        self.inferer = inferer or SimpleInferer()
        self.reports: dict[str, LayerReport] = {}
        self._kept: list[Tensor] = []
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            epoch_length,
            handlers=None,
            amp=False,
            decollate=False,
        )
        # Before the other handlers at the end of the last epoch: the checkpoint there holds the
        # calibrated network.
        self.add_event_handler(Events.EPOCH_STARTED, self._begin)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._finish)
        self._register_handlers(train_handlers or ())
        # And after those at the start, which load initial weights or a checkpoint.
        self.add_event_handler(Events.STARTED, self._prepare)

    def _begin(self, _: Engine) -> None:
        self._kept = []  # of this epoch only: a resumed training calibrates on the same scans

    def _prepare(self, engine: Engine) -> None:
        self.network.train()
        if self.learner is not None:
            if engine.state.iteration == 0:
                self.learner.prepare()
            self.learner.attach()

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> StepOutput:
        images = batchdata[Keys.IMAGE].to(torch.device(self.state.device), non_blocking=True)
        if self.filter_lengths == "calibrated":
            self._keep(images)
        if self.learner is None:
            return StepOutput({Keys.LOSS: torch.zeros(())})
        total = self.state.max_epochs * self.state.epoch_length
        with torch.no_grad():
            self.inferer(images, self.network)
        rate = self.rate * (1 - (engine.state.iteration - 1) / total)
        change = self.learner.step(rate, self.optimizer)
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        return StepOutput({Keys.LOSS: change})

    def _keep(self, images: Tensor) -> None:
        """Keep the last scans for calibration."""
        self._kept.append(images)
        while sum(map(len, self._kept[1:])) >= self.calibration_scans:
            self._kept.pop(0)

    def _finish(self, engine: Engine) -> None:
        if self.learner is not None:
            self.reports = self.learner.reports()
        if engine.state.epoch < engine.state.max_epochs:
            return
        if self.learner is not None:
            self.learner.detach()
        if self.learner is not None and self.filter_lengths == "drawn":
            self.learner.restore_lengths()
        if self._kept:
            images = torch.cat(self._kept)[-self.calibration_scans :]
            layers = None if self.learner is None else self.learner.layers
            run = partial(self.inferer, network=self.network)
            calibrate(self.network, images, layers=layers, run=run)
            self._kept = []


class HebbianDiagnostics:
    """MONAI handler that reports the state of a :class:`HebbianTrainer`'s layers every epoch.

    Measures go to TensorBoard, the first layer's filters to ``filters.png``; a collapse is logged
    as a warning.

    Args:
        folder: of the image.
        log_dir: of TensorBoard's events; None writes none.
        write: whether this process writes.
    """

    def __init__(self, folder: str, log_dir: str | None = None, write: bool = True) -> None:
        self.folder = Path(folder)
        self.log_dir = log_dir
        self.write = write
        self._writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Measure after every epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._look)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _look(self, engine: Engine) -> None:
        if not isinstance(engine, HebbianTrainer):
            raise ConfigError(f"a {type(engine).__name__}", expected="a HebbianTrainer")
        if engine.learner is None or not self.write:
            return
        if self.log_dir is not None:
            for name, value in scalars(engine.reports).items():
                self._events().add_scalar(f"hebbian/{name}", value, engine.state.iteration)
        draw_filters(next(iter(engine.learner.layers.values())).weight, self.folder / "filters.png")
        if warning := collapse_warning(engine.reports):
            logger.warning(warning)

    def _events(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = self._writer or SummaryWriter(self.log_dir)
        return self._writer

    def _close(self, _: Engine) -> None:
        if self._writer is not None:
            self._writer.close()
