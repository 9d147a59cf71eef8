"""Every trainer leaves out the voxels whose label is ``ignore``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_semiseg import engines
from monai_semiseg.engines.contrastive import SupervisedContrastTrainer
from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.losses.contrastive import LocalContrast
from monai_semiseg.losses.ignoring import IgnoringDiceCELoss
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher
from monai_semiseg.transforms.labels import CheckLabeld
from tests.engines import test_cached_cotraining as cached
from tests.engines import test_contrastive as contrastive
from tests.engines.comparator_builders import CLASSES, build, started
from tests.engines.test_comparators import METHODS
from tests.engines.test_diffusion import cotrainer

Batch = Callable[..., dict[str, Tensor]]
TRAINERS = [*METHODS, "diffusion", "cached", "contrast"]
LABELS = ("label", "second_label")
HIDDEN = (..., slice(None), slice(14, None))


def trainer_of(name: str, batch: Batch) -> tuple[SemiSupervisedTrainer, dict[str, Tensor]]:
    """Create a trainer as it is before its first step, and a batch."""
    trainer: Any
    torch.manual_seed(0)
    data = batch()
    if name == "contrast":
        trainer = contrastive.trainer(SupervisedContrastTrainer, LocalContrast(stride=2), False)
        return trainer, trainer.data_loader[0]
    if name == "cached":
        scans = cached.scans(2)
        trainer, data = cached.trainer(scans, rounds=1), cached.batch_of(scans, [0, 1])
    elif name == "diffusion":
        trainer = cotrainer(rounds=1, labelled_boxes=1.0)
    else:
        trainer = started(METHODS[name])
    trainer.state.iteration = 1
    trainer.loss_function = IgnoringDiceCELoss(
        to_onehot_y=True, softmax=True, include_background=False, batch=True
    )
    return trainer, data


def losses(trainer: SemiSupervisedTrainer, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    supervised, free = trainer.losses(batch)
    return supervised, supervised if free is None else supervised + free


def stepped(name: str, batch: Batch, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return all weights after one step with changed labels."""
    trainer, data = trainer_of(name, batch)
    data = {key: change(value) if key in LABELS else value for key, value in data.items()}
    losses(trainer, data)[1].backward()  # type: ignore[no-untyped-call]
    trainer.optimizer.step()
    return [weight for group in trainer.optimizer.param_groups for weight in group["params"]]


@pytest.fixture
def in_classes(tmp_path: Path) -> Callable[[Tensor], Tensor]:
    """Return the transform of the bundles: numbers of label files to classes."""
    labels = {"0": "background", "1": "a", "2": "b", "255": "ignore"}
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps({"labels": labels, "training": []}))
    check = CheckLabeld("label", out_channels=3, datalist=str(file))
    return lambda label: torch.stack([check({"label": one})["label"] for one in label])


@pytest.mark.parametrize("name", TRAINERS)
def test_what_a_label_hides_changes_no_step(
    name: str, batch: Batch, in_classes: Callable[[Tensor], Tensor]
) -> None:
    """Compare weights after a step: two truths under 255, and background instead of 255."""

    def labelled(truth: float | None, mark: float | None) -> Callable[[Tensor], Tensor]:
        def change(label: Tensor) -> Tensor:
            out = label.clone()
            for value in (truth, mark):
                out[HIDDEN] = out[HIDDEN] if value is None else value
            return in_classes(out)

        return change

    first, second, background = (
        stepped(name, batch, labelled(*how)) for how in ((1, 255), (2, 255), (0, None))
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(bool(weight.isfinite().all()) for weight in first)
    assert any(not torch.equal(one, other) for one, other in zip(first, background, strict=True))


@pytest.mark.parametrize("name", TRAINERS)
def test_a_batch_of_nothing_but_ignore(name: str, batch: Batch) -> None:
    trainer, data = trainer_of(name, batch)
    data = {key: -torch.ones_like(v) if key in LABELS else v for key, v in data.items()}
    supervised, loss = losses(trainer, data)
    # A diffusion teacher also rebuilds unlabelled scans in this part.
    assert float(supervised.detach()) == 0 or name in ("diffusion", "cached")
    assert bool(loss.isfinite())
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    for group in trainer.optimizer.param_groups:
        assert all(bool(w.grad.isfinite().all()) for w in group["params"] if w.grad is not None)


def test_nothing_but_ignore_at_the_end_of_an_epoch(batch: Batch) -> None:
    """Return a gradient ratio of 0, and not 1e35, where there is no supervised gradient."""
    data = batch()
    trainer = build(
        engines.MeanTeacherTrainer, batches=[{**data, "label": -torch.ones_like(data["label"])}]
    )
    trainer.loss_function = IgnoringDiceCELoss(to_onehot_y=True, softmax=True)
    trainer.run()
    assert bool(trainer.state.output["loss"].isfinite())
    assert float(trainer.state.output["gradient_ratio"]) == 0


@pytest.mark.parametrize("name", TRAINERS)
def test_the_supervised_loss_has_no_gradient_in_ignored_voxels(name: str, batch: Batch) -> None:
    """Look at every output that is compared with a label."""
    trainer, data = trainer_of(name, batch)
    for key in LABELS:
        if key in data:
            data[key] = data[key].clone()
            data[key][HIDDEN] = -1
    compared: list[Tensor] = []
    loss = trainer.loss_function

    def watched(output: Tensor, *others: Tensor) -> Tensor:
        output.retain_grad()
        compared.append(output)
        result: Tensor = loss(output, *others)
        return result

    trainer.loss_function = watched
    losses(trainer, data)[0].backward()  # type: ignore[no-untyped-call]
    assert compared
    for output in compared:
        gradient = output.grad
        assert gradient is not None and not gradient[HIDDEN].any() and gradient.any()


class Pointwise(nn.Module):
    """Network of one voxel's reach, so that gradients say which voxels a loss looked at."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 1)

    def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
        result: Tensor = self.layer(images)
        return result


@pytest.mark.parametrize("name", ["copy_paste", "diffusion"])
def test_pasted_labels_and_rebuilt_images_leave_ignored_voxels_out(name: str, batch: Batch) -> None:
    torch.manual_seed(0)
    student = Pointwise(1, CLASSES)
    data = batch()
    trainer: Any
    if name == "diffusion":
        nets = [Pointwise(1 + CLASSES, outputs) for outputs in (CLASSES, 1)]
        made = DiffusionTeacher(nets[0], nets[1], CLASSES, steps=2)
        trainer = cotrainer(diffusion=made, rounds=1, labelled_boxes=1.0, teacher=student)
        trainer.network = student
    else:
        trainer = started(METHODS[name], network=student)
    trainer.loss_function = IgnoringDiceCELoss(to_onehot_y=True, softmax=True)
    data["label"][HIDDEN] = -1
    data["image"].requires_grad_()
    losses(trainer, data)[1].backward()  # type: ignore[no-untyped-call]
    gradient = data["image"].grad
    assert gradient is not None and not gradient[HIDDEN].any()
    assert bool((gradient[..., :14] != 0).float().mean() > 0.9)
