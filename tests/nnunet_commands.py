"""Commands of nnU-Net in one process, with a trainer of few iterations.

``python nnunet_commands.py FOLDER "nnUNetv2_train 1 3d_fullres 0 ..." ...`` runs one after another.
"""

from __future__ import annotations

import os
import shlex
import sys
import types
from importlib.metadata import entry_points
from pathlib import Path

TRAINER = "FewIterationsTrainer"
FIRST_PASS = "first_pass.pt"  # images, outputs, and the heads, which nnU-Net draws anew
_CODE = f"""
import os
import random
import numpy
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

class {TRAINER}(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        for seed in (random.seed, numpy.random.seed, torch.manual_seed):
            seed(0)
        self.num_epochs = 1
        self.num_iterations_per_epoch = 3
        self.num_val_iterations_per_epoch = 1

    def train_step(self, batch):
        file = os.path.join(os.environ["nnUNet_results"], "{FIRST_PASS}")
        if not os.path.exists(file):
            heads = {{name: value.clone() for name, value in self.network.state_dict().items()
                      if ".seg_layers." in name}}
            with torch.no_grad():
                outputs = self.network(batch["data"])
            torch.save({{"data": batch["data"], "outputs": outputs, "heads": heads}}, file)
        return super().train_step(batch)

    def perform_actual_validation(self, save_probabilities=False):
        pass
"""


def run(folder: Path, commands: list[str]) -> None:
    """Run commands of nnU-Net with its folders below one folder."""
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    (folder / "trainer").mkdir(exist_ok=True)
    (folder / "trainer" / "few.py").write_text(_CODE)
    os.environ |= {"nnUNet_extTrainer": str(folder / "trainer")}
    os.environ |= {"nnUNet_compile": "f"}
    # nnU-Net looks for a trainer in all of its modules; these import torchvision, which some
    # machines have for another version of torch.
    other = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"
    sys.modules[other] = types.ModuleType(other)
    for command in commands:
        sys.argv = shlex.split(command)
        # No processes for the training's images; the planner takes the number for threads.
        processes = "0" if sys.argv[0] == "nnUNetv2_train" else "1"
        os.environ |= {"nnUNet_n_proc_DA": processes}
        (entry,) = entry_points(group="console_scripts", name=sys.argv[0])
        entry.load()()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
