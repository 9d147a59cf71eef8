"""How good a diffusion teacher's pseudo-labels are, round by round, and what every round costs.

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

from monai_semiseg.benchmarks.measure import BUNDLES, add_output, write_measured
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.split import read_images
from monai_semiseg.networks.class_alignment import best_order, confusion, reorder_classes
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher, aggregated
from monai_semiseg.networks.weights import load_weights


def mean_dice(probabilities: Tensor, labels: Tensor) -> float:
    """Mean Dice of the foreground classes of one scan, over those that the label has."""
    classes = probabilities.shape[1]
    found, truth = one_hot(probabilities.argmax(1, keepdim=True), classes), one_hot(labels, classes)
    return float(compute_dice(found, truth, include_background=False).nanmean())


@torch.no_grad()
def rows_of(
    teacher: DiffusionTeacher, scans: list[dict[str, Tensor]], rounds: int
) -> list[list[Any]]:
    """Per round: Dice of its mask, of the mean so far, share of voxels that all rounds agree on, seconds per scan."""
    found: list[list[list[float]]] = [[] for _ in range(rounds + 1)]
    for number, scan in enumerate(scans):
        image, label = scan["image"], scan["label"]
        masks: list[Tensor] = []
        for count in range(rounds + 1):
            begun = time.perf_counter()
            masks, _ = teacher.rounds(image, count, torch.Generator().manual_seed(number))
            seconds = time.perf_counter() - begun
            mean, agreement = aggregated(masks)
            found[count].append(
                [
                    mean_dice(masks[-1], label),
                    mean_dice(mean, label),
                    float(agreement.mean()),
                    seconds,
                ]
            )
    means = [torch.tensor(rows).mean(0).tolist() for rows in found]
    return [[count, *values] for count, values in enumerate(means)]


def after_training(args: argparse.Namespace) -> list[list[Any]]:
    """:func:`rows_of` the teacher whose weights are given."""
    workflow = open_training(args, {})
    teacher = workflow.parser.get_parsed_content("teacher")
    load_weights(teacher, args.weights, strict=True)
    if args.align:
        with torch.no_grad():
            counts = sum(
                confusion(teacher.sample(scan["image"]), scan["label"])
                for scan in scans_of(args, workflow, "training")
            )
        order, dice = best_order(torch.as_tensor(counts))
        reorder_classes(teacher, order)
        sys.stdout.write(
            f"classes {order}, Dice on labelled scans {[round(value, 3) for value in dice]}\n"
        )
    return rows_of(teacher.eval(), scans_of(args, workflow, "unlabeled"), args.rounds)


def over_training(args: argparse.Namespace) -> list[list[Any]]:
    """One co-training as ``train.json`` makes it: iteration, :func:`rows_of` the teacher, the student's Dice."""
    workflow = open_training(
        args,
        {
            "iterations": args.train,
            "teacher_weights": args.weights and str(args.weights),
            "ckpt_dir": str(args.output),
            "output_dir": str(args.output),
        },
    )
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content(
        "train#trainer"
    )  # first: the order in which networks are drawn
    teacher, student = (workflow.parser.get_parsed_content(name) for name in ("teacher", "product"))
    with (
        torch.random.fork_rng()
    ):  # a loader draws a seed, which would be missing from the training's draws
        unlabelled = scans_of(args, workflow, "unlabeled")
    rows: list[list[Any]] = []

    def measure(engine: Engine) -> None:
        training = student.training
        with torch.no_grad():
            student.eval()
            own = sum(
                mean_dice(student(scan["image"]), scan["label"]) for scan in unlabelled
            ) / len(unlabelled)
        student.train(training)
        found = rows_of(teacher.eval(), unlabelled, args.rounds)
        rows.extend([engine.state.iteration, *row, own] for row in found)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, measure)
    workflow.run()
    return rows


def open_training(args: argparse.Namespace, settings: dict[str, Any]) -> ConfigWorkflow:
    """The bundle's co-training on a CPU."""
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
    """A section's scans with labels: labelled ones to align on, unlabelled ones to measure on."""
    transform = workflow.parser.get_parsed_content("validate#preprocessing")
    patch = workflow.parser.get_parsed_content("patch_size")
    return [_cropped(item, patch) for item in labelled_scans(args, section, transform)]


def labelled_scans(args: argparse.Namespace, section: str, transform: Any) -> DataLoader:
    """The first ``args.scans`` of a section with the labels that the dataset has for them, in batches of one."""
    labels = {
        str(args.dataset / case.image): str(args.dataset / case.label)
        for case in open_dataset(args.dataset).cases
        if case.label
    }
    images = [
        item["image"] for item in read_images(str(args.datalist), str(args.dataset), [section])
    ]
    data = [{"image": image, "label": labels[image]} for image in images[: args.scans]]
    return DataLoader(Dataset(data, transform), batch_size=1)


def _cropped(item: dict[str, Any], patch: list[int]) -> dict[str, Tensor]:
    """The middle of a scan, as large as a training patch."""
    middle = [
        slice((n - p) // 2, (n - p) // 2 + p)
        for n, p in zip(item["image"].shape[2:], patch, strict=True)
    ]
    index: tuple[Any, ...] = (..., *middle)
    return {key: torch.as_tensor(item[key])[index].clone() for key in ("image", "label")}


def main() -> None:
    """Print the table and write it as CSV."""
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
    measured = 0.5 * args.scans * (args.rounds + 1)  # once, and after every epoch of a hundred
    trained = args.train or 0
    announce(3 * trained + measured * max(1, trained // 100))
    torch.manual_seed(0)
    names = ["round", "dice", "dice_of_mean", "agreement", "seconds_per_scan"]
    if args.train is None:
        rows = after_training(args)
    else:
        names, rows = ["iteration", *names, "dice_of_student"], over_training(args)
    write_measured(
        [{**dict(zip(names, row, strict=True)), "steps": args.steps} for row in rows],
        args.output / "pseudo_labels.csv",
    )
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    lines += [
        "| "
        + " | ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row)
        + " |"
        for row in rows
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
