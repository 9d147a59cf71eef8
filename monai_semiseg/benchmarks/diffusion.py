"""Cost of co-training with a diffusion teacher, and of its denoiser."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet, DiffusionModelUNet
from torch import Tensor, nn

from monai_semiseg.benchmarks.measure import add_output, announce, compare, table, write_csv
from monai_semiseg.engines.cached_cotraining import CachedDiffusionCoTrainer, PseudoLabelCache
from monai_semiseg.engines.diffusion_cotraining import DiffusionCoTrainer
from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher
from monai_semiseg.networks.diffusion_unet import TimeConditionedUNet
from monai_semiseg.samplers.coordinates import CoordinateDataset

FEATURES = (16, 16, 32, 64, 128, 16)
CLASSES = 3


def batch(size: Sequence[int], device: torch.device) -> dict[str, Tensor]:
    """Create two labelled and two unlabelled patches of noise."""
    torch.manual_seed(0)
    image = torch.randn((2, 1, *size), device=device)
    label = torch.randint(0, CLASSES, image.shape, device=device).float()
    return {"image": image, "label": label, "weak": image.clone(), "strong": image.clone()}


def teacher(features: Sequence[int]) -> DiffusionTeacher:
    """Create the teacher as the bundle does."""
    nets = [TimeConditionedUNet(3, 1 + CLASSES, outputs, features) for outputs in (CLASSES, 1)]
    return DiffusionTeacher(nets[0], nets[1], CLASSES)


def step(
    kind: type[SemiSupervisedTrainer], data: dict[str, Tensor], iteration: int = 1, **more: Any
) -> Callable[[], object]:
    """Return a call of one training step, number ``iteration``."""
    network = BasicUNet(3, 1, CLASSES, FEATURES).to(data["image"].device)
    parts = [network, *(part for part in more.values() if isinstance(part, nn.Module))]
    parameters = itertools.chain.from_iterable(part.parameters() for part in parts)
    trainer = kind(
        device=data["image"].device,
        max_epochs=1,
        epoch_length=1,
        train_data_loader=[data],
        network=network,
        optimizer=torch.optim.AdamW(parameters),
        loss_function=DiceCELoss(
            to_onehot_y=True, softmax=True, include_background=False, batch=True
        ),
        **more,
    )
    trainer.state.iteration = iteration
    return lambda: trainer._iteration(trainer, data)


def networks(teacher_features: Sequence[int], device: torch.device) -> dict[str, Any]:
    """Create the networks of a co-training beside the student."""
    average = BasicUNet(3, 1, CLASSES, FEATURES).to(device)
    return {
        "diffusion_teacher": teacher(teacher_features).to(device),
        "teacher": average,
        "aligned": False,
    }


def looked_up(data: dict[str, Tensor], **more: Any) -> Callable[[], object]:
    """Return a step between two refreshes of the cached pseudo-labels, without rounds."""
    scans = CoordinateDataset([{"image": image} for image in data["weak"]])
    cache = PseudoLabelCache(scans, SimpleInferer())
    device = data["weak"].device
    cache.refresh(more["diffusion_teacher"], 1, 0, device)
    where = {
        "index": torch.arange(len(scans), device=device),
        "coordinates": torch.stack(
            [scans[number]["coordinates"] for number in range(len(scans))]
        ).to(device),
    }
    return step(CachedDiffusionCoTrainer, {**data, **where}, 2, rounds=0, cache=cache, **more)


def denoisers(size: Sequence[int], device: torch.device) -> dict[str, Callable[[], object]]:
    """Return forward and backward passes of our denoiser, BasicUNet and MONAI's."""
    noisy = torch.randn((2, 1 + CLASSES, *size), device=device)
    times = torch.tensor([10, 900], device=device)
    ours = TimeConditionedUNet(3, 1 + CLASSES, CLASSES, FEATURES).to(device)
    stock = BasicUNet(3, 1 + CLASSES, CLASSES, FEATURES).to(device)
    monais = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=1 + CLASSES,
        out_channels=CLASSES,
        channels=FEATURES[1:5],
        attention_levels=[False] * 4,
        num_res_blocks=1,
        norm_num_groups=8,
        num_head_channels=8,
    ).to(device)
    return {
        "BasicUNet, no time": lambda: stock(noisy).square().mean().backward(),
        "TimeConditionedUNet": lambda: ours(noisy, times).square().mean().backward(),
        "DiffusionModelUNet": lambda: monais(noisy, times).square().mean().backward(),
    }


def main() -> None:
    """Print and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, nargs=3, default=[40, 56, 40])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--teacher_features", type=int, nargs=6, default=list(FEATURES))
    parser.add_argument(
        "--autocast_dtype", choices=["float16", "bfloat16"], help="of every step (default float32)"
    )
    args = parser.parse_args()
    announce((2 + args.repeat) * 1.2e-4 * math.prod(args.size))
    device = torch.device(args.device)
    data = batch(args.size, device)
    precision = {"autocast_dtype": args.autocast_dtype}
    ways = {"supervised": step(SemiSupervisedTrainer, data, **precision)}
    if args.autocast_dtype:
        ways["supervised, float32"] = step(SemiSupervisedTrainer, data)
    for rounds in (0, 1, 3):
        ways[f"co-training, {rounds} rounds"] = step(
            DiffusionCoTrainer,
            data,
            rounds=rounds,
            **networks(args.teacher_features, device),
            **precision,
        )
    ways["co-training, pseudo-labels looked up"] = looked_up(
        data, **networks(args.teacher_features, device), **precision
    )
    for name, rows in (("step", ways), ("denoiser", denoisers(args.size, device))):
        measured = compare(rows, args.repeat)
        write_csv(measured, args.output / f"diffusion_{name}.csv")
        sys.stdout.write(
            f"\n{name}, 2 labelled and 2 unlabelled patches\n{table(measured, measured[0].name)}"
        )


if __name__ == "__main__":
    main()
