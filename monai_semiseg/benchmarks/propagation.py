"""Dice of labels propagated by registration, alone and together with networks.

The labels of the unlabelled scans are read here, for this measurement only; no training sees them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_semiseg.benchmarks.measure import BUNDLES, add_output, announce, write_measured
from monai_semiseg.benchmarks.pseudo_labels import labelled_scans, mean_dice
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.datalist import read_images
from monai_semiseg.networks.weights import load_weights
from monai_semiseg.storage.tables import markdown_table
from monai_semiseg.transforms.labels import with_background

Predict = Callable[[Tensor], Tensor]


def combined(propagated: Tensor, predicted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return probabilities by source.

    The sources are registration, each network, all networks, the first network with registration.
    """
    networks = list(predicted.values())
    ways = {"propagated": propagated, **predicted}
    if len(networks) > 1:
        ways["mean of the networks"] = torch.stack(networks).mean(0)
    if networks:
        ways["mean of propagated and first network"] = (propagated + networks[0]) / 2
    return ways


@torch.no_grad()
def measure(
    propagate: Callable[[dict[str, Any]], dict[str, Any]],
    networks: Mapping[str, Predict],
    scans: Iterable[dict[str, Any]],
) -> tuple[dict[str, float], float]:
    """Measure mean Dice by source, and seconds of registration per scan."""
    found: dict[str, list[float]] = {}
    seconds = []
    for scan in scans:
        image, label = scan["image"], scan["label"]
        begun = time.perf_counter()
        foreground = torch.as_tensor(propagate({"image": image[0]})["propagated"])[None]
        seconds.append(time.perf_counter() - begun)
        predicted = {name: torch.softmax(predict(image), 1) for name, predict in networks.items()}
        for name, probabilities in combined(with_background(foreground), predicted).items():
            found.setdefault(name, []).append(mean_dice(probabilities, label))
    dice = {name: sum(values) / len(values) for name, values in found.items()}
    return dice, sum(seconds) / len(seconds)


def open_all(args: argparse.Namespace) -> tuple[Any, dict[str, Predict], Iterable[dict[str, Any]]]:
    """Open the registration and the networks as the bundle has them, and the scans."""
    settings = {
        "dataset_dir": str(args.dataset),
        "datalist": str(args.datalist),
        "propagated_dir": None,
        "device": "$torch.device('cpu')",
    }
    method = args.bundle / "configs" / "methods" / "label_propagation.yaml"
    parser = open_workflow(args.bundle, "train", settings, [method, *args.plan]).parser
    propagate = parser.get_parsed_content("train#unlabelled#preprocessing").transforms[-1]
    inferer = parser.get_parsed_content("validate#inferer")
    definition = parser.get_parsed_content("network_def", instantiate=False)
    networks: dict[str, Predict] = {}
    for file in args.weights:
        network = _with_weights(definition.instantiate(), file)
        networks[str(file)] = partial(inferer, network=network)
    preprocessing = parser.get_parsed_content("validate#preprocessing")
    return propagate, networks, labelled_scans(args, "unlabeled", preprocessing)


def _with_weights(network: nn.Module, file: Path) -> nn.Module:
    load_weights(network, file, strict=True)
    return network.eval()


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--datalist", type=Path, required=True)
    parser.add_argument("--plan", type=Path, nargs="*", default=[])
    parser.add_argument(
        "--weights", type=Path, nargs="*", default=[], help="networks trained on the datalist"
    )
    parser.add_argument("--bundle", type=Path, default=BUNDLES / "semisupervised_baselines")
    parser.add_argument("--scans", type=int, default=20, help="unlabelled scans to measure on")
    add_output(parser)
    args = parser.parse_args()
    atlases = len(read_images(str(args.datalist), str(args.dataset), ["training"]))
    announce(0.5 * args.scans * atlases)
    dice, seconds = measure(*open_all(args))
    rows = [{"labels": name, "dice": value, "scans": args.scans} for name, value in dice.items()]
    write_measured(rows, args.output / "propagation.csv")
    cells = [[name, f"{value:.4f}"] for name, value in dice.items()]
    table = markdown_table(["labels", "mean Dice"], cells)
    sys.stdout.write(f"{table}\n{seconds:.1f} s of registration per scan\n")


if __name__ == "__main__":
    main()
