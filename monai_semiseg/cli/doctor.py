"""Show versions, devices, memory and disk, and whether a bundle's configs can be used."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
from tempfile import TemporaryDirectory

from monai_semiseg.cli.terminal import say
from monai_semiseg.errors import root_cause

PACKAGES = (
    "monai",
    "torch",
    "pytorch-ignite",
    "numpy",
    "nibabel",
    "SimpleITK",
    "itk",
    "pydicom",
    "highdicom",
    "safetensors",
    "scipy",
    "matplotlib",
    "tensorboard",
    "pyyaml",
    "tqdm",
    "pillow",
    "tifffile",
    "psutil",
)
WORKFLOWS = ("train", "evaluate", "inference")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bundle", nargs="*", help="names or folders of bundles to look over")


def run(args: argparse.Namespace) -> int:
    """Print what is there; 2 if a bundle cannot be used."""
    from monai_semiseg import __version__
    from monai_semiseg.storage.files import available_memory

    lines = [
        f"monai-semiseg {__version__}, Python {platform.python_version()}, {platform.platform()}"
    ]
    for name in PACKAGES:
        try:
            lines.append(f"  {name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"  {name} MISSING: pip install {name}")
    lines.append(
        f"memory free: {available_memory() / 2**30:.1f} GiB, CPU cores: {os.cpu_count()}, "
        f"disk free here: {shutil.disk_usage('.').free / 2**30:.1f} GiB"
    )
    lines.append(f"devices: {', '.join(_devices())}")
    problems = [problem for bundle in args.bundle for problem in _look_over(bundle)]
    lines += problems or (["bundles: all right"] if args.bundle else [])
    say("\n".join(lines))
    return 2 if problems else 0


def _devices() -> list[str]:
    import torch

    return [
        "cpu",
        *(f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())),
    ]


def _look_over(bundle: str) -> list[str]:
    """Initialise every workflow; one line per problem, with the root cause and not its wrapping."""
    problems = []
    for config in WORKFLOWS:
        try:
            missing = _missing_properties(bundle, config)
            problems += [f"{bundle} {config}: property {name} is missing" for name in missing]
        except Exception as error:  # noqa: BLE001 - whatever a bundle raises is a finding
            cause = root_cause(error)
            problems.append(
                f"{bundle} {config}: {type(cause).__name__}: {str(cause).splitlines()[0]}"
            )
    return problems


def _missing_properties(bundle: str, config: str) -> list[str]:
    """Initialise a workflow, which leaves no file, and return what MONAI wants of it in vain."""
    from monai_semiseg.bundles.keys import load_config
    from monai_semiseg.bundles.locate import bundle_folder
    from monai_semiseg.bundles.workflow import open_workflow

    folder = bundle_folder(bundle)
    file = folder / "configs" / f"{config}.json"
    writes = file.is_file() and "output_dir" in load_config(file)
    with TemporaryDirectory() as scratch:  # TensorBoard begins its file at once
        workflow = open_workflow(folder, config, {"output_dir": scratch} if writes else {})
        workflow.initialize()
        return list(workflow.check_properties() or []) if config != "evaluate" else []
