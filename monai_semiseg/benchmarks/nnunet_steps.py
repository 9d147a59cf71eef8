"""Steps of a comparison of starts in nnU-Net; a step that is done is not done again."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_semiseg.benchmarks.nnunet_cells import Planning, StartCell
from monai_semiseg.benchmarks.nnunet_process import DATASET, PLANS, PREPARED
from monai_semiseg.datasets.convert import convert
from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.datasets.dataset import ScanDataset, case_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import output_errors
from monai_semiseg.study.cell_work import last_line


def prepare_nnunet(spec: StartCell, dataset: ScanDataset, planning: Planning) -> None:
    """Convert the labelled training cases of a split, plan and preprocess them, unless it is done.

    Args:
        spec: a cell of the split.
        dataset: valid cases.
        planning: wishes for the planner.

    Raises:
        ConfigError: If nnU-Net's commands fail, or the folder was prepared with other wishes.
    """
    folder = spec.nnunet
    if (folder / PREPARED).is_file():
        if spec.prepared["asked"] != vars(planning):
            raise ConfigError(
                f"was prepared with {spec.prepared['asked']}, asked is {vars(planning)}",
                expected="one configuration and memory target",
                remedy="choose another --output",
                path=folder,
            )
        return
    raw = folder / "raw" / DATASET
    if not raw.exists():
        wanted = {
            case_of(entry).image
            for entry in load_datalist(spec.datalist)["training"]
            if "label" in entry
        }
        cases = [case for case in dataset.cases if case.image in wanted]
        convert(replace(dataset, cases=cases), "nnunet", raw, progress=False)
    command = _process("prepare", folder, *planning.words())
    log = folder / "log.txt"
    with output_errors(log), log.open("ab") as stream:
        code = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    if code:
        raise ConfigError(
            f"nnU-Net cannot plan or preprocess: {last_line(log)}",
            expected="a dataset that nnUNetv2_plan_and_preprocess takes",
            path=log,
        )


def start_commands(spec: StartCell, layout: Sequence[str] = ()) -> list[list[str]]:
    """Return the commands of a cell that are not done: its start, its training, its evaluation.

    Args:
        spec: the cell, whose data are prepared.
        layout: what the command line says about the layout of the dataset.
    """
    commands = []
    if spec.start is not None and not spec.start.is_file():
        commands.append(_pretraining(spec, layout))
    if not spec.weights.is_file():
        commands.append(_training(spec))
    return [*commands, _evaluation(spec)]


def _pretraining(spec: StartCell, layout: Sequence[str]) -> list[str]:
    arm = spec.cell.arm
    plans = spec.nnunet / "preprocessed" / DATASET / f"{PLANS}.json"
    return [
        *_verb("pretrain", spec, layout),
        *("--plan", str(spec.plan), "--bundle", str(arm.bundle)),
        *("--network", f"{plans}:{spec.prepared['configuration']}"),
        *("--iterations", str(arm.settings["start_iterations"]), "--seed", str(spec.cell.seed)),
        *("--output", str(spec.folder / "start"), "--resume"),
        *shlex.split(arm.settings["pretrain"]),
    ]


def _training(spec: StartCell) -> list[str]:
    epochs = spec.cell.arm.settings["epochs"]
    words = [
        *("--configuration", spec.prepared["configuration"]),
        *("--results", str(spec.folder / "results"), "--seed", str(spec.cell.seed)),
        *("--epochs", str(epochs), "--epoch_iterations", str(spec.iterations // epochs)),
        *("--device", _torch_device(spec.device)),
    ]
    if spec.start is not None:
        words += ["--pretrained_weights", str(spec.start)]
    return _process("train", spec.nnunet, *words)


def _evaluation(spec: StartCell) -> list[str]:
    words = ["--weights", f"{spec.model}:all", "--output", str(spec.folder / "test")]
    if spec.cell.arm.settings["disable_tta"]:
        words += ["--set", "mirror_axes=[]"]
    return [*_verb("evaluate", spec), *words]


def _verb(name: str, spec: StartCell, layout: Sequence[str] = ()) -> list[str]:
    where = ["--datalist", str(spec.datalist), "--device", spec.device]
    program = [sys.executable, "-m", "monai_semiseg"]
    return [*program, name, str(spec.dataset), *layout, *where]


def _process(step: str, folder: Path, *words: str) -> list[str]:
    program = [sys.executable, "-m", "monai_semiseg.benchmarks.nnunet_process"]
    return [*program, step, str(folder), *words]


def _torch_device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
