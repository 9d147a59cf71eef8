"""Processes of nnU-Net: its planning and its trainer, in folders of their own.

nnU-Net takes its folders from the environment, so each step is a process by itself:
``python -m monai_semiseg.benchmarks.nnunet_process prepare|train FOLDER ...``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_semiseg.datasets.nnunet_files import nnunet_module
from monai_semiseg.datasets.nnunet_plans import read_plans
from monai_semiseg.storage.files import atomic_path, write_atomically

DATASET = "Dataset001_Starts"
PREPARED = "prepared.json"
PLANS = "nnUNetPlans"
CHECKPOINT = "checkpoint_final.pth"


def result_folder(results: Path, configuration: str) -> Path:
    """Return the folder of a trained model, as nnU-Net names it."""
    return results / DATASET / f"nnUNetTrainer__{PLANS}__{configuration}"


def set_environment(folder: Path, results: Path, processes: int = 1) -> None:
    """Give nnU-Net its folders, its number of processes for images, and no compilation."""
    names = {"raw": folder / "raw", "preprocessed": folder / "preprocessed", "results": results}
    for name, path in names.items():
        path.mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(path)
    os.environ |= {"nnUNet_n_proc_DA": str(processes)}
    os.environ |= {"nnUNet_compile": "f", "nnUNet_def_n_proc": "1"}


def prepare(folder: Path, configuration: str | None, memory_target: float | None) -> None:
    """Plan and preprocess ``raw`` of a folder by nnU-Net's own commands.

    Args:
        folder: holds ``raw/Dataset001_Starts``; gets ``preprocessed``, and ``prepared.json`` when
            all is done: what was asked for, and what the plans say.
        configuration: such as ``2d``; None is ``3d_fullres``, or ``2d`` if the planner makes no
            other.
        memory_target: of the planner, in GB; None is nnU-Net's own.

    Raises:
        ConfigError: If the planner makes no such configuration.
    """
    set_environment(folder, folder / "results")
    target = [] if memory_target is None else ["-gpu_memory_target", str(memory_target)]
    one = ["-d", "1", "-np", "1"]
    _run_command("nnUNetv2_plan_and_preprocess", [*one, "-npfp", "1", "--no_pp", *target])
    plans = read_plans(folder / "preprocessed" / DATASET / f"{PLANS}.json", configuration)
    _run_command("nnUNetv2_preprocess", [*one, "-c", plans.configuration])
    content = {
        "asked": {"configuration": configuration, "gpu_memory_target": memory_target},
        "configuration": plans.configuration,
        "batch_size": plans.batch_size,
        "patch_size": plans.patch_size,
        "spacing": plans.spacing,
        "network": plans.architecture["network_class_name"].rsplit(".", 1)[-1],
        "features_per_stage": plans.architecture["arch_kwargs"]["features_per_stage"],
    }
    write_atomically(folder / PREPARED, json.dumps(content, indent=1) + "\n")


def _run_command(name: str, words: Sequence[str]) -> None:
    """Run a command of nnU-Net in this process."""
    (entry,) = entry_points(group="console_scripts", name=name)
    sys.argv = [name, *words]
    entry.load()()


def train(
    folder: Path,
    results: Path,
    configuration: str,
    *,
    epochs: int,
    epoch_iterations: int,
    seed: int = 0,
    device: str = "cpu",
    pretrained: Path | None = None,
) -> Path:
    """Train as ``nnUNetv2_train 1 CONFIGURATION all [-pretrained_weights FILE]`` does.

    The trainer is ``nnUNetTrainer`` itself. Its public attributes set the length, so its learning
    rate falls over this length. All cases are trained on. Each epoch has one validation step, and
    only the last weights are written: the best ones would be chosen on the training cases.

    Args:
        folder: that :func:`prepare` has made.
        results: folder for ``Dataset001_Starts/nnUNetTrainer__nnUNetPlans__CONFIGURATION``.
        configuration: of the plans.
        epochs: number of steps of the learning rate.
        epoch_iterations: optimiser steps of each epoch.
        seed: of weights, patches and augmentation.
        device: ``cpu`` or ``cuda``.
        pretrained: weights to start from; the heads are drawn anew.

    Returns:
        The checkpoint. It is written whole, so that its presence says that the training is done.
    """
    set_environment(folder, results, processes=0)  # so that the seed decides the patches
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)
    nnunet = nnunet_module("nnunetv2.run.run_training")
    trainer = nnunet.get_trainer_from_args(
        dataset_name_or_id=DATASET,
        configuration=configuration,
        fold="all",
        device=torch.device(device),
    )
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = epoch_iterations
    trainer.num_val_iterations_per_epoch = 1
    trainer.disable_checkpointing = True
    start = None if pretrained is None else str(pretrained)
    nnunet.maybe_load_checkpoint(trainer, False, False, start)
    trainer.run_training()
    return _save(trainer, result_folder(results, configuration) / "fold_all" / CHECKPOINT)


def _save(trainer: Any, path: Path) -> Path:
    trainer.disable_checkpointing = False
    with atomic_path(path) as part:
        trainer.save_checkpoint(str(part))
    return path


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    steps = parser.add_subparsers(dest="step", required=True)
    planning = steps.add_parser("prepare", help="plan and preprocess")
    training = steps.add_parser("train", help="train on all cases")
    for step in (planning, training):
        step.add_argument("folder", type=Path, help="folder with raw/Dataset001_Starts")
        step.add_argument("--configuration", help="of the plans, such as 2d")
    planning.add_argument("--gpu_memory_target", type=float, help="of the planner, in GB")
    training.add_argument("--results", type=Path, required=True, help="folder for the model")
    training.add_argument("--epochs", type=int, required=True)
    training.add_argument("--epoch_iterations", type=int, required=True)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--device", default="cpu", help="cpu or cuda")
    training.add_argument("--pretrained_weights", type=Path, help="start of the training")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run one step."""
    args = _arguments(words)
    if args.step == "prepare":
        prepare(args.folder, args.configuration, args.gpu_memory_target)
    else:
        train(
            args.folder,
            args.results,
            args.configuration,
            epochs=args.epochs,
            epoch_iterations=args.epoch_iterations,
            seed=args.seed,
            device=args.device,
            pretrained=args.pretrained_weights,
        )


if __name__ == "__main__":
    main()
