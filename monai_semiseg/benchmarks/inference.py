"""Cost of a folder run, against the network alone and against the plain MONAI loop."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from PIL import Image
from pydicom.uid import generate_uid
from scipy.ndimage import gaussian_filter

from monai_semiseg.benchmarks.fuzz import dicom
from monai_semiseg.benchmarks.measure import BUNDLES, Row, add_output, announce, table, write_csv
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.handlers.precision import has_instructions
from monai_semiseg.images.scan import read_scan
from monai_semiseg.storage.files import resident_memory

Way = Callable[[ConfigWorkflow], Callable[[], list[float]]]


def write_scans(folder: Path, count: int, shape: Sequence[int]) -> None:
    """Write smooth random scans as int16 .nii.gz.

    Their orientation is LPS, so that they have to be reoriented.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=shape), 1.5)
    for n in range(count):
        array = (1000 * np.roll(noise, n, axis=0)).astype(np.int16)
        image = nib.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
        nib.save(image, folder / f"scan{n:04}.nii.gz")


def write_photographs(folder: Path, count: int, shape: Sequence[int]) -> None:
    """Write smooth random colour photographs as JPEG, ``(columns, rows)``."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(*reversed(shape), 3)), (6, 6, 0))
    colours = (127 + 60 * noise / noise.std()).clip(0, 255).astype(np.uint8)
    for n in range(count):
        picture = Image.fromarray(np.roll(colours, n, axis=1))
        picture.save(folder / f"photo{n:05}.jpg", quality=90)


def photograph_settings(root: Path) -> dict[str, Any]:
    """Return the settings of a 2-D network for colours, with random weights in ``root``."""
    from monai.networks.nets import BasicUNet

    network = BasicUNet(2, 3, 3, features=(16, 16, 32, 64, 128, 16))
    torch.save(network.state_dict(), root / "weights.pt")
    return {
        "ckpt_path": str(root / "weights.pt"),
        "spatial_dims": 2,
        "in_channels": 3,
        "channel_names": ["red", "green", "blue"],
        "output_type": "native",
        "spacing": [1.0, 1.0],
        "patch_size": [256, 256],
        "mirror_axes": [],
        "overlap": 0.25,
        "training_scans": {},
    }


def opened(bundle: Path, scans: Path, output: Path, settings: dict[str, Any]) -> ConfigWorkflow:
    """Open the bundle's inference, ready to run."""
    where = {"dataset_dir": str(scans), "output_dir": str(output), "device": "$torch.device('cpu')"}
    workflow = open_workflow(bundle, "inference", {**where, **settings})
    workflow.initialize()
    return workflow


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


def compare(
    bundle: Path,
    scans: Path,
    ways: Mapping[str, tuple[Way, dict[str, Any]]],
    settings: dict[str, Any],
    root: Path,
    repeat: int = 1,
) -> list[Row]:
    """Measure median seconds of each run over the same scans, and memory growth.

    Memory is measured over the second half of a run. The runs take turns, so that a slow machine
    affects all of them.
    """
    seconds: dict[str, list[float]] = {}
    growth: dict[str, float] = {}
    for turn in range(repeat):
        for name, (make, more) in ways.items():
            folder = root / str(turn) / name.replace(" ", "_")
            if make is plain_loop:
                more = {"postprocessing": usual_postprocessing(folder)}
            way = make(opened(bundle, scans, folder, {**settings, **more}))
            begun = time.perf_counter()
            memory = way()
            seconds.setdefault(name, []).append(time.perf_counter() - begun)
            growth[name] = memory[-1] - memory[len(memory) // 2] if memory else 0.0
    return [Row(name, median(times), growth[name]) for name, times in seconds.items()]


def discovery(files: int, root: Path) -> Row:
    """Measure the seconds to find the series of ``files`` DICOM files.

    There are a hundred files to a folder, 25 series each.
    """
    template = list(dicom(np.random.default_rng(0)).values())
    written = 0
    series = generate_uid(entropy_srcs=["s"]).encode()
    for number in range(files // 4):
        folder = root / f"study{number // 25:05}"
        folder.mkdir(parents=True, exist_ok=True)
        for content in template:
            named = content.replace(series, series[:-6] + f"{number:06}".encode())
            (folder / f"{written:06}.dcm").write_bytes(named)
            written += 1
    begun = time.perf_counter()
    with find_cases([str(root)], progress=False) as found:
        seconds = time.perf_counter() - begun
        if len(found.cases) != files // 4:
            raise RuntimeError(f"found {len(found.cases)} series instead of {files // 4}")
    return Row(f"{written} DICOM files, {files // 4} series", seconds, 0.0)


def measure_scans(
    bundle: Path, name: str, count: int, shape: Sequence[int], repeat: int, output: Path
) -> None:
    """Print and write the table of a folder of scans."""
    plain = {"mirror_axes": [], "overlap": 0.25}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_scans(root / "scans", count, shape)
        rows = compare(bundle, root / "scans", ways_of(), plain, root, repeat)
    _show(rows, "network alone", f"{count} scans of {shape}", output / f"inference_{name}.csv")


def measure_photographs(bundle: Path, count: int, repeat: int, output: Path) -> None:
    """Print and write the table of a folder of photographs."""
    shape = (512, 384)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photographs(root / "scans", count, shape)
        settings = photograph_settings(root)
        rows = compare(bundle, root / "scans", photograph_ways(), settings, root, repeat)
    words = f"{count} photographs of {shape}"
    _show(rows, "decoding and network", words, output / "inference_photographs.csv")


def _show(rows: Sequence[Row], reference: str, words: str, path: Path) -> None:
    write_csv(rows, path)
    sys.stdout.write(
        f"\n{words}; MB: growth over the second half of the run\n{table(rows, reference)}"
    )


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLES / "semisupervised_baselines")
    add_output(parser)
    parser.add_argument("--small", type=int, default=100, help="scans of 36 x 50 x 36")
    parser.add_argument("--large", type=int, default=4, help="scans of 256 x 256 x 128")
    parser.add_argument("--photographs", type=int, default=100, help="of 512 x 384, in colour")
    parser.add_argument("--files", type=int, default=10_000, help="DICOM files")
    parser.add_argument("--repeat", type=int, default=3, help="turns of the small images")
    args = parser.parse_args()
    ways = len(ways_of())
    announce(
        ways * (0.09 * args.repeat * args.small + 8 * args.large)
        + 0.4 * args.repeat * args.photographs
        + 0.003 * args.files
    )
    for name, count, shape, turns in (
        ("small", args.small, (36, 50, 36), args.repeat),
        ("large", args.large, (256, 256, 128), 1),
    ):
        if count:
            measure_scans(args.bundle, name, count, shape, turns, args.output)
    if args.photographs:
        measure_photographs(args.bundle, args.photographs, args.repeat, args.output)
    if args.files:
        with tempfile.TemporaryDirectory() as folder:
            row = discovery(args.files, Path(folder))
        write_csv([row], args.output / "discovery.csv")
        sys.stdout.write(f"\n{row.name}: {row.seconds:.1f} s\n")


if __name__ == "__main__":
    main()
