"""Dice of a diffusion teacher's pseudo-labels, and cost of each round.

The labels of the unlabelled scans are read here, for this measurement only; no training sees them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader, Dataset
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import Tensor

from monai_semiseg.benchmarks.measure import BUNDLES, add_output, announce, write_measured
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.datalist import read_images
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.networks.class_alignment import best_order, confusion, reorder_classes
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher, aggregated
from monai_semiseg.networks.weights import load_weights
from monai_semiseg.storage.tables import markdown_table


def mean_dice(probabilities: Tensor, labels: Tensor) -> float:
    """Compute the mean Dice of the foreground classes that the label of a scan has."""
    classes = probabilities.shape[1]
    found, truth = one_hot(probabilities.argmax(1, keepdim=True), classes), one_hot(labels, classes)
    return float(compute_dice(found, truth, include_background=False).nanmean())


@torch.no_grad()
def rows_of(
    teacher: DiffusionTeacher, scans: list[dict[str, Tensor]], rounds: int
) -> list[list[Any]]:
    """Measure each round.

    Values: Dice of its mask, Dice of the mean so far, share of voxels where all rounds agree,
    seconds per scan.
    """
    found: list[list[list[float]]] = [[] for _ in range(rounds + 1)]
    for number, scan in enumerate(scans):
        image, label = scan["image"], scan["label"]
        masks: list[Tensor] = []
        for count in range(rounds + 1):
            begun = time.perf_counter()
            masks, _ = teacher.rounds(image, count, torch.Generator().manual_seed(number))
            seconds = time.perf_counter() - begun
            mean, agreement = aggregated(masks)
            dice = [mean_dice(masks[-1], label), mean_dice(mean, label)]
            found[count].append([*dice, float(agreement.mean()), seconds])
    means = [torch.tensor(rows).mean(0).tolist() for rows in found]
    return [[count, *values] for count, values in enumerate(means)]


def after_training(args: argparse.Namespace) -> list[list[Any]]:
    """Measure the teacher whose weights are given, by :func:`rows_of`."""
    workflow = open_training(args, {})
    teacher = workflow.parser.get_parsed_content("diffusion_teacher")
    load_weights(teacher, args.weights, strict=True)
    if args.align:
        align(teacher, scans_of(args, workflow, "training"))
    return rows_of(teacher.eval(), scans_of(args, workflow, "unlabeled"), args.rounds)


@torch.no_grad()
def align(teacher: DiffusionTeacher, scans: list[dict[str, Tensor]]) -> None:
    """Match the teacher's classes to the labels of scans, and print the match."""
    counts = sum(confusion(teacher.sample(scan["image"]), scan["label"]) for scan in scans)
    order, dice = best_order(torch.as_tensor(counts))
    reorder_classes(teacher, order)
    rounded = [round(value, 3) for value in dice]
    sys.stdout.write(f"classes {order}, Dice on labelled scans {rounded}\n")


def over_training(args: argparse.Namespace) -> list[list[Any]]:
    """Run one co-training as ``train.json`` does, and measure after every epoch.

    Rows: iteration, :func:`rows_of` the teacher, the student's Dice.
    """
    settings = {
        "iterations": args.train,
        "teacher_weights": args.weights and str(args.weights),
        "ckpt_dir": str(args.output),
        "output_dir": str(args.output),
    }
    workflow = open_training(args, settings)
    workflow.initialize()
    get = workflow.parser.get_parsed_content
    trainer = get("train#trainer")  # first, so that networks are initialised in the usual order
    teacher = get("diffusion_teacher")
    student = get("exported_network")
    # A loader draws a seed, which would change the random numbers of the training.
    with torch.random.fork_rng():
        unlabelled = scans_of(args, workflow, "unlabeled")
    rows: list[list[Any]] = []

    def measure(engine: Engine) -> None:
        training = student.training
        with torch.no_grad():
            student.eval()
            dice = [mean_dice(student(scan["image"]), scan["label"]) for scan in unlabelled]
        own = sum(dice) / len(dice)
        student.train(training)
        found = rows_of(teacher.eval(), unlabelled, args.rounds)
        rows.extend([engine.state.iteration, *row, own] for row in found)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, measure)
    workflow.run()
    return rows


def open_training(args: argparse.Namespace, settings: dict[str, Any]) -> ConfigWorkflow:
    """Open the bundle's co-training on a CPU."""
    settings = {
        "dataset_dir": str(args.dataset),
        "datalist": str(args.datalist),
        "sampling_steps": args.steps,
        "device": "$torch.device('cpu')",
        **settings,
    }
    return open_workflow(args.bundle, "train", settings, args.plan)


def scans_of(
    args: argparse.Namespace, workflow: ConfigWorkflow, section: str
) -> list[dict[str, Tensor]]:
    """Load a section's scans with labels: to align on, or to measure on."""
    transform = workflow.parser.get_parsed_content("validate#preprocessing")
    patch = workflow.parser.get_parsed_content("patch_size")
    return [_cropped(item, patch) for item in labelled_scans(args, section, transform)]


def labelled_scans(args: argparse.Namespace, section: str, transform: Any) -> DataLoader:
    """Load the first ``args.scans`` of a section with the dataset's labels, in batches of one."""
    labels = {
        str(args.dataset / case.image): str(args.dataset / case.label)
        for case in open_dataset(args.dataset).cases
        if case.label
    }
    items = read_images(str(args.datalist), str(args.dataset), [section])
    images = [item["image"] for item in items[: args.scans]]
    data = [{"image": image, "label": labels[image]} for image in images]
    return DataLoader(Dataset(data, transform), batch_size=1)


def _cropped(item: dict[str, Any], patch: list[int]) -> dict[str, Tensor]:
    """Crop the middle of a scan to the size of a training patch."""
    margins = [(n - p) // 2 for n, p in zip(item["image"].shape[2:], patch, strict=True)]
    middle = [slice(start, start + p) for start, p in zip(margins, patch, strict=True)]
    index: tuple[Any, ...] = (..., *middle)
    return {key: torch.as_tensor(item[key])[index].clone() for key in ("image", "label")}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--datalist", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, help="teacher.pt of a co-training, model.pt of stage 1"
    )
    parser.add_argument(
        "--train",
        type=int,
        metavar="ITERATIONS",
        help="co-train (from stage 1's --weights, if any), measure after every epoch",
    )
    parser.add_argument("--plan", type=Path, nargs="*", default=[])
    parser.add_argument("--bundle", type=Path, default=BUNDLES / "diffusion_cotrainer")
    parser.add_argument("--scans", type=int, default=20, help="unlabelled scans to measure on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1, help="of DDIM")
    parser.add_argument(
        "--align", action="store_true", help="name classes by the labelled scans first (stage 1)"
    )
    add_output(parser)
    args = parser.parse_args()
    if args.train is None and args.weights is None:
        parser.error("--weights of a teacher, or --train ITERATIONS")
    if args.train is not None and args.train < 1:
        parser.error(f"--train {args.train}: at least 1 iteration")
    if args.train is not None and args.align:
        parser.error("--align with --train: a co-training aligns --weights of stage 1 by itself")
    return args


def main() -> None:
    """Print the table and write it as CSV."""
    args = _arguments()
    measured = 0.5 * args.scans * (args.rounds + 1)  # once, and after every epoch of a hundred
    trained = args.train or 0
    announce(3 * trained + measured * max(1, trained // 100))
    torch.manual_seed(0)
    names = ["round", "dice", "dice_of_mean", "agreement", "seconds_per_scan"]
    if args.train is None:
        rows = after_training(args)
    else:
        names = ["iteration", *names, "dice_of_student"]
        rows = over_training(args)
    write_measured(
        [{**dict(zip(names, row, strict=True)), "steps": args.steps} for row in rows],
        args.output / "pseudo_labels.csv",
    )
    cells = [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    sys.stdout.write(markdown_table(names, cells))


if __name__ == "__main__":
    main()
