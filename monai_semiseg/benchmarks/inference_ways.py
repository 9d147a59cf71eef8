"""Ways to run one network over a folder of images, all with the same settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

from monai_semiseg.handlers.precision import has_instructions
from monai_semiseg.images.scan import read_scan
from monai_semiseg.storage.files import resident_memory

Way = Callable[[ConfigWorkflow], Callable[[], list[float]]]


def network_alone(workflow: ConfigWorkflow) -> Callable[[], list[float]]:
    """Return a run of the network on arrays in memory, the lower bound of any folder run."""
    get = workflow.parser.get_parsed_content
    images = [item["image"].as_tensor()[None] for item in get("dataset")]
    network = get("network").eval()
    inferer = get("inferer")

    def run() -> list[float]:
        with torch.inference_mode():
            for image in images:
                inferer(image, network)
        return []

    return run


def decoding_and_network(workflow: ConfigWorkflow) -> Callable[[], list[float]]:
    """Return a run that reads every image and runs the network, one after the other.

    What a folder of small images costs at the least where one core decodes.
    """
    get = workflow.parser.get_parsed_content
    network_run = network_alone(workflow)
    files = [item["image"] for item in get("dataset").data]

    def run() -> list[float]:
        for file in files:
            read_scan(file)
        return network_run()

    return run


def folder_run(workflow: ConfigWorkflow) -> Callable[[], list[float]]:
    """Return a folder run with all its outputs; it gives the memory after every case."""

    def run() -> list[float]:
        results = workflow.parser.get_parsed_content("runner").run()
        return [result.memory_mb for result in results]

    return run


def plain_loop(workflow: ConfigWorkflow) -> Callable[[], list[float]]:
    """Return a run of MONAI's evaluator, one scan after the other; masks only."""
    evaluator = workflow.parser.get_parsed_content("evaluator")
    memory: list[float] = []

    def note(_: Engine) -> None:
        memory.append(resident_memory())

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, note)

    def run() -> list[float]:
        evaluator.run()
        return memory

    return run


def usual_postprocessing(output: Path) -> dict[str, Any]:
    """Return the Model Zoo's postprocessing: softmax, Invertd, argmax, SaveImaged."""
    return {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "SaveImaged",
                "keys": "pred",
                "output_dir": str(output),
                "separate_folder": False,
                "print_log": False,
                "output_dtype": "uint8",
            },
        ],
    }


def photograph_ways() -> dict[str, tuple[Way, dict[str, Any]]]:
    """Return the runs to measure over photographs with their settings, by name."""
    return {
        "decoding and network": (decoding_and_network, {}),
        "folder run": (folder_run, {}),
        "folder run, no previews": (folder_run, {"preview": False}),
    }


def ways_of() -> dict[str, tuple[Way, dict[str, Any]]]:
    """Return the runs to measure with their settings, by name; bfloat16 where it is native."""
    ways: dict[str, tuple[Way, dict[str, Any]]] = {
        "network alone": (network_alone, {}),
        "folder run": (folder_run, {}),
        "folder run, no previews": (folder_run, {"preview": False}),
        "plain MONAI loop": (plain_loop, {}),
    }
    if has_instructions(torch.bfloat16, torch.device("cpu")):
        ways["folder run, bfloat16"] = (folder_run, {"autocast_dtype": "bfloat16"})
    return ways
