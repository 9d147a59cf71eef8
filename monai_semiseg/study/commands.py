"""Commands of a cell: ``monai.bundle run`` for every stage, the training and the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semiseg.bundles.command import bundle_command
from monai_semiseg.study.arm_keys import settings_of_evaluation
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.shared_training import is_imported


def cell_commands(spec: CellSpec) -> list[list[str]]:
    """Return the commands of a cell, in order: its stages, its training and its evaluation.

    Stages and trainings whose weights were imported from another cell are left out.
    """
    evaluation = _evaluation(spec)
    if is_imported(spec.folder):
        return [evaluation]
    arm = spec.cell.arm
    weights: dict[str, Path] = {}
    if arm.initialisation is not None:
        weights["init_weights"] = arm.initialisation
    commands = []
    for number, stage in enumerate(arm.stages, 1):
        folder = spec.stage_folder(number)
        if not is_imported(folder):
            config = stage.bundle / "configs" / stage.config
            settings = {**_training_settings(spec, folder, config, weights), **stage.settings}
            commands.append(_command(spec, config, stage.overlays, settings))
        weights[stage.hands_to] = folder / "model.pt"
    return [*commands, _training(spec, weights), evaluation]


def _training(spec: CellSpec, weights: Mapping[str, Path]) -> list[str]:
    arm = spec.cell.arm
    config = arm.bundle / "configs" / "train.json"
    settings = {
        **_training_settings(spec, spec.folder, config, weights),
        "iterations": spec.iterations,
        **arm.settings,
    }
    return _command(spec, config, arm.overlays, settings)


def _evaluation(spec: CellSpec) -> list[str]:
    arm = spec.cell.arm
    config = arm.bundle / "configs" / "evaluate.json"
    settings = {
        "dataset_dir": spec.dataset,
        "datalist": spec.datalist,
        "ckpt_path": spec.folder / "model.pt",
        "output_dir": spec.folder / "test",
        **settings_of_evaluation(arm, config),
    }
    return _command(spec, config, arm.evaluate_overlays, settings)


def _training_settings(
    spec: CellSpec, folder: Path, config: Path, weights: Mapping[str, Path]
) -> dict[str, Any]:
    """Return the settings of a step that trains; of the weights, those its config has a key for."""
    keys = ConfigParser.load_config_file(config)
    return {
        "dataset_dir": spec.dataset,
        "datalist": spec.datalist,
        "ckpt_dir": folder,
        "output_dir": folder,
        "seed": spec.cell.seed,
        **{key: path for key, path in weights.items() if key in keys},
        "resume": True,
    }


def _command(
    spec: CellSpec, config: Path, overlays: Sequence[Path], settings: Mapping[str, Any]
) -> list[str]:
    # Overlays come after the plan: an overlay may ask for another patch than the plan's.
    if spec.device != "auto":
        settings = {**settings, "device": f"$torch.device('{spec.device}')"}
    return bundle_command(config.resolve(), [spec.plan, *overlays], settings)
