"""Script run by torchrun from test_two_processes.py: all training workflows in turn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.networks.weights import unwrapped

SMALL = {
    "patch_size": [32, 16, 16],
    "num_workers": 0,
    "iterations": 2,
    "epoch_iterations": 1,
    "batch_size": 2,
    "init_weights": None,
}
FEATURES = [4, 4, 4, 4, 8, 4]


def run(job: dict[str, str], data: Path, folder: Path) -> float:
    """Train, and return the largest difference of the processes' weights."""
    bundle = Path(job["bundle"])
    stage = job["stage"]
    known = json.loads((bundle / "configs" / f"{stage}.json").read_text())
    small = {
        **SMALL,
        "channels": FEATURES[4] if stage == "pretrain_global" else FEATURES[5],
        "dimension": 8,
        "teacher_features": FEATURES,
    }
    settings = {key: value for key, value in small.items() if key in known}
    if "network_def" in known:
        settings["network_def#features"] = FEATURES
    settings |= {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder)}
    overlays = [
        bundle / "configs" / job["several"],
        *([Path(job["method"])] if job["method"] else []),
    ]
    workflow = open_workflow(bundle, stage, settings, overlays)
    workflow.initialize()
    workflow.run()
    network = unwrapped(workflow.parser.get_parsed_content("train#checkpoint").network)
    mine = torch.cat([value.double().flatten() for value in network.state_dict().values()])
    both = [torch.empty_like(mine) for _ in range(2)]
    dist.all_gather(both, mine)
    return (
        float((both[0] - both[1]).abs().max()) if bool(torch.isfinite(mine).all()) else float("nan")
    )


def main() -> None:
    """Run the jobs of a file; the first process writes the results."""
    jobs = json.loads(Path(sys.argv[1]).read_text())
    data = Path(sys.argv[2])
    out = Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = {job["name"]: run(job, data, out / job["name"]) for job in jobs}
    if dist.get_rank() == 0:
        (out / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
