"""Checkpoints that are complete and atomic, with the best weights beside the last."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_semiseg.bundles.record import differences, write_record
from monai_semiseg.errors import CheckpointError
from monai_semiseg.handlers.fingerprint import TrainingFingerprint
from monai_semiseg.networks.weight_files import read_checkpoint, save_atomically
from monai_semiseg.networks.weights import load_weights, unwrapped
from monai_semiseg.samplers.seeded import BudgetSampler
from monai_semiseg.storage.files import write_atomically

logger = logging.getLogger(__name__)


class TrainingCheckpoint:
    """MONAI handler that writes ``checkpoint.pt`` (full state) and ``model.pt`` (best weights).

    ``checkpoint.pt`` holds the state of every object in ``state`` (network, optimizer, schedule,
    curve, ...), the iteration and the random generators; it is written after every epoch, after
    validation. ``model.pt`` holds the weights of the best validation so far, or the last ones
    without validation. Both are replaced atomically: a killed process leaves the previous file.

    The best is the maximum of a moving average of the metric, ``m <- s m + (1 - s) metric``, as in
    nnU-Net: validation on one or two scans is noisy, and the maximum of the metric itself is often
    an early outlier.

    ``model.json`` beside ``model.pt`` holds the settings of the training, ``metadata.json`` what
    MONAI's tools ask about a model, and ``checkpoint.pt`` the training's fingerprint: a training
    with another data list, config or method cannot resume from it.

    Put it after ``ValidationHandler`` in the list of handlers.

    Args:
        folder: where both files go.
        network: the network whose weights are kept; a DDP wrapper is removed.
        state: further objects with ``state_dict`` and ``load_state_dict``, by name.
        evaluator: the validation engine; its key metric, higher is better, selects the best.
        samplers: samplers that continue at the restored iteration.
        resume: continue from ``checkpoint.pt`` if it exists; a first run may set it too.
        write: whether this process writes (rank 0 only, under DDP).
        smoothing: s above, 0 (the metric as it is) to below 1.
        companions: further networks by name, written as plain state dicts ``NAME.pt`` whenever
            ``model.pt`` is.
        fingerprint: of this training; None stores and compares none.
        resume_anyway: resume although the fingerprint differs.
    """

    def __init__(
        self,
        folder: str,
        network: nn.Module,
        state: dict[str, Any],
        evaluator: Engine | None = None,
        samplers: list[BudgetSampler] | None = None,
        resume: bool = False,
        write: bool = True,
        smoothing: float = 0.7,
        companions: dict[str, nn.Module] | None = None,
        fingerprint: TrainingFingerprint | None = None,
        resume_anyway: bool = False,
    ) -> None:
        self.fingerprint = fingerprint
        self.resume_anyway = resume_anyway
        self.companions = companions or {}
        self.folder = Path(folder)
        self.network = network
        self.objects = state
        self.evaluator = evaluator
        self.samplers = samplers or []
        self.resume = resume
        self.write = write
        self.smoothing = smoothing
        self.average: float | None = None
        self.best: float | None = None
        self._random: dict[str, Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Restore at the start; save after every epoch."""
        engine.add_event_handler(Events.STARTED, self._restore)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._restore_random)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _save(self, engine: Engine) -> None:
        better = self._better(engine)
        if not self.write:
            return
        weights = unwrapped(self.network).state_dict()
        if better:
            self._save_best(weights)
        content = {
            **({"fingerprint": self.fingerprint.facts()} if self.fingerprint else {}),
            "network": weights,
            "iteration": engine.state.iteration,
            "epoch": engine.state.epoch,
            "best": [self.average, self.best],
            "budget": _budget(engine),
            "random": _random_state(),
            "scaler": _scaler(engine).state_dict(),
            **{name: _plain(item).state_dict() for name, item in self.objects.items()},
        }
        save_atomically(content, self.folder / "checkpoint.pt")

    def _save_best(self, weights: dict[str, Any]) -> None:
        companions = {name: unwrapped(n).state_dict() for name, n in self.companions.items()}
        for name, state in {"model": weights, **companions}.items():
            save_atomically(state, self.folder / f"{name}.pt")
            self._describe(name)

    def _describe(self, name: str) -> None:
        if self.fingerprint is not None:
            settings = dict(self.fingerprint.settings)
            if name != "model":  # a companion is another network, trained on the same data
                settings.pop("network_def", None)
            write_record(self.folder / f"{name}.pt", settings, self.fingerprint.bundle)
            if name == "model" and self.fingerprint.metadata:
                text = json.dumps(self.fingerprint.metadata, indent=4, ensure_ascii=False)
                write_atomically(self.folder / "metadata.json", f"{text}\n")

    def _better(self, engine: Engine) -> bool:
        """Update the averaged metric by this epoch's validation; return whether it is the best."""
        if self.evaluator is None:
            return True
        if self.evaluator.state.epoch != engine.state.epoch:
            return False
        metric = float(self.evaluator.state.metrics[self.evaluator.state.key_metric_name])
        old = metric if self.average is None else self.average
        self.average = self.smoothing * old + (1 - self.smoothing) * metric
        better = self.best is None or self.average > self.best
        self.best = self.average if better else self.best
        return better

    def _restore(self, engine: Engine) -> None:
        file = self.folder / "checkpoint.pt"
        if not self.resume or not file.is_file():
            return
        content = read_checkpoint(file)
        self._compare(content, file)
        try:
            self._take(content, engine)
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            text = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise CheckpointError(
                f"does not fit this training ({text or type(error).__name__})",
                expected="a checkpoint of the same configuration",
                remedy="resume with the same configuration, or choose another folder",
                path=file,
            ) from error
        logger.info("%s: continuing after iteration %d", file, content["iteration"])

    def _compare(self, content: dict[str, Any], file: Path) -> None:
        """Refuse the checkpoint of another training."""
        if self.fingerprint is None or self.resume_anyway:
            return
        if "fingerprint" not in content:
            logger.warning("%s: has no fingerprint, so it is not compared with this training", file)
            return
        differ = differences(content["fingerprint"], self.fingerprint.facts())
        if differ:
            raise CheckpointError(
                f"belongs to another training: {differ}",
                expected="the datalist, plan, config and method that it was started with",
                remedy="resume with these, choose another ckpt_dir, or set --resume_anyway True",
                path=file,
            )

    def _take(self, content: dict[str, Any], engine: Engine) -> None:
        now = _budget(engine)
        was = content.get("budget", now)
        if was != now:
            raise ValueError(
                f"epochs x iterations were {was[0]} x {was[1]}, now {now[0]} x {now[1]}"
            )
        unwrapped(self.network).load_state_dict(content["network"])
        for name, item in self.objects.items():
            _plain(item).load_state_dict(content[name])
        if content.get("scaler"):  # empty without mixed precision
            _scaler(engine).load_state_dict(content["scaler"])
        engine.state.iteration = content["iteration"]
        engine.state.epoch = content["epoch"]
        self.average, self.best = content["best"]
        for sampler in self.samplers:
            sampler.iteration = content["iteration"]
        self._random = content["random"]

    def _restore_random(self, _: Engine) -> None:
        """Restore the generators at the first batch: creating the iterator draws a number too."""
        if self._random is not None:
            _set_random_state(self._random)
            self._random = None


def _plain(item: Any) -> Any:
    """Return the object that holds the state: networks without their wrapper.

    So one process can resume what several began.
    """
    return unwrapped(item) if isinstance(item, nn.Module) else item


def _budget(engine: Engine) -> list[int]:
    return [int(engine.state.max_epochs), int(engine.state.epoch_length)]


def _scaler(engine: Engine) -> Any:
    """Return the trainer's gradient scaler (mixed precision), or one that has no state."""
    return getattr(engine, "scaler", None) or torch.amp.GradScaler("cpu", enabled=False)


class InitialWeights:
    """MONAI handler that initialises a network from given weights.

    The number of matching tensors is logged; no match at all is an error.

    Args:
        network: the network to initialise.
        path: .pt or .safetensors; None leaves the network as it is.
        strict: require exactly the tensors of the network, as an evaluation has to.
    """

    def __init__(self, network: nn.Module, path: str | None, strict: bool = False) -> None:
        self.network = network
        self.path = path
        self.strict = strict

    def attach(self, engine: Engine) -> None:
        """Load before the first iteration; a resumed checkpoint takes precedence."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine) -> None:
        """Load the weights, unless a checkpoint was restored by a handler before this one."""
        if self.path is not None and engine.state.iteration == 0:
            load_weights(self.network, self.path, strict=self.strict)


def _random_state() -> dict[str, Any]:
    name, keys, *position = np.random.get_state(legacy=True)
    numbers = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), numbers, *position],
        "python": [version, list(words), gauss],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *position = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
