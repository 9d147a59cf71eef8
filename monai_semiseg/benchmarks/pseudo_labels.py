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
from monai.data import DataLoader, Dataset
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import Tensor

from monai_semiseg.benchmarks.measure import write_measured
from monai_semiseg.data.dataset import open_dataset
from monai_semiseg.data.split import read_images
from monai_semiseg.inference.workflow import open_workflow
from monai_semiseg.networks.class_alignment import best_order, confusion, reorder_classes
from monai_semiseg.networks.diffusion_teacher import DiffusionTeacher, aggregated
from monai_semiseg.networks.weights import load_weights


def mean_dice(probabilities: Tensor, labels: Tensor) -> float:
    """Mean Dice of the foreground classes of one scan, over those that the label has."""
    classes = probabilities.shape[1]
    found, truth = one_hot(probabilities.argmax(1, keepdim=True), classes), one_hot(labels, classes)
    return float(compute_dice(found, truth, include_background=False).nanmean())


@torch.no_grad()
def rows_of(teacher: DiffusionTeacher, scans: list[dict[str, Tensor]], rounds: int) -> list[list[Any]]:
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
            found[count].append([mean_dice(masks[-1], label), mean_dice(mean, label), float(agreement.mean()), seconds])
    means = [torch.tensor(rows).mean(0).tolist() for rows in found]
    return [[count, *values] for count, values in enumerate(means)]


def open_teacher(args: argparse.Namespace) -> tuple[DiffusionTeacher, dict[str, list[dict[str, Tensor]]]]:
    """The teacher with its weights, and the scans to align on (labelled) and to measure on (unlabelled)."""
    settings = {"dataset_dir": str(args.dataset), "datalist": str(args.datalist), "sampling_steps": args.steps,
                "device": "$torch.device('cpu')"}  # fmt: skip
    workflow = open_workflow(args.bundle, "train", settings, args.plan)
    teacher = workflow.parser.get_parsed_content("teacher")
    load_weights(teacher, args.weights, strict=True)
    transform = workflow.parser.get_parsed_content("validate#preprocessing")
    patch = workflow.parser.get_parsed_content("patch_size")
    scans = {section: [_cropped(item, patch) for item in labelled_scans(args, section, transform)]
             for section in ("training", "unlabeled")}  # fmt: skip
    return teacher.eval(), scans


def labelled_scans(args: argparse.Namespace, section: str, transform: Any) -> DataLoader:
    """The first ``args.scans`` of a section with the labels that the dataset has for them, in batches of one."""
    labels = {str(args.dataset / case.image): str(args.dataset / case.label)
              for case in open_dataset(args.dataset).cases if case.label}  # fmt: skip
    images = [item["image"] for item in read_images(str(args.datalist), str(args.dataset), [section])]
    data = [{"image": image, "label": labels[image]} for image in images[: args.scans]]
    return DataLoader(Dataset(data, transform), batch_size=1)


def _cropped(item: dict[str, Any], patch: list[int]) -> dict[str, Tensor]:
    """The middle of a scan, as large as a training patch."""
    middle = [slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(item["image"].shape[2:], patch, strict=True)]
    index: tuple[Any, ...] = (..., *middle)
    return {key: torch.as_tensor(item[key])[index].clone() for key in ("image", "label")}


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--datalist", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="teacher.pt of a co-training, model.pt of stage 1")
    parser.add_argument("--plan", type=Path, nargs="*", default=[])
    parser.add_argument("--bundle", type=Path, default=Path("bundles/diffusion_cotrainer"))
    parser.add_argument("--scans", type=int, default=20, help="unlabelled scans to measure on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1, help="of DDIM")
    parser.add_argument("--align", action="store_true", help="name classes by the labelled scans first (stage 1)")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"))
    args = parser.parse_args()
    torch.manual_seed(0)
    teacher, scans = open_teacher(args)
    if args.align:
        with torch.no_grad():
            counts = sum(confusion(teacher.sample(scan["image"]), scan["label"]) for scan in scans["training"])
        order, dice = best_order(torch.as_tensor(counts))
        reorder_classes(teacher, order)
        sys.stdout.write(f"classes {order}, Dice on labelled scans {[round(value, 3) for value in dice]}\n")
    rows = rows_of(teacher, scans["unlabeled"], args.rounds)
    names = ["round", "dice", "dice_of_mean", "agreement", "seconds_per_scan"]
    write_measured([{**dict(zip(names, row, strict=True)), "steps": args.steps} for row in rows],
                   args.output / "pseudo_labels.csv")  # fmt: skip
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    lines += [f"| {row[0]} | {' | '.join(f'{value:.4f}' for value in row[1:])} |" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
