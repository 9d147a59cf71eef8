"""Write a network with its weights for other programs: TorchScript, ONNX or safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.cli.arguments import add_bundle_arguments, model_of
from monai_semiseg.cli.terminal import say
from monai_semiseg.cli.trust import add_trust_argument, require_trusted

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from torch import Tensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--format",
        required=True,
        choices=["torchscript", "onnx", "safetensors"],
        help="of the file; ONNX needs the extra export",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--image",
        type=Path,
        help="scan whose middle patch the file and the network are compared on (default: noise)",
    )
    add_trust_argument(parser)
    add_bundle_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Export, read the file back, compare, and print the largest difference."""
    from monai_semiseg.bundles.record import refuse_other_settings
    from monai_semiseg.bundles.workflow import open_workflow
    from monai_semiseg.networks.exchange import export_network, require_format
    from monai_semiseg.networks.weights import load_weights

    require_format(args.format, args.output)
    model = model_of(args, "inference")
    require_trusted(model, trusted=args.trust)
    parser = open_workflow(model.bundle, "inference", model.settings, model.overlays).parser
    weights = str(parser.get_parsed_content("ckpt_path"))
    refuse_other_settings(parser, weights)
    network = parser.get_parsed_content("network_def")
    load_weights(network, weights, strict=True)
    say(str(export_network(network, _patch(parser, args.image), args.output, args.format)))
    return 0


def _patch(parser: ConfigParser, scan: Path | None) -> Tensor:
    """Return one image of the network's patch size: the middle of a scan, or noise of a seed."""
    import torch
    from monai.transforms import ResizeWithPadOrCrop

    size: list[int] = list(parser.get_parsed_content("patch_size"))
    if scan is None:
        channels = parser.get_parsed_content("in_channels")
        return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))
    image: Any = parser.get_parsed_content("preprocessing")({"image": str(scan)})["image"]
    if image.ndim - 1 > len(size):  # a 2-D network over the slices of scans
        axis = parser.get_parsed_content("slice_axis") + 1
        image = image.select(axis, image.shape[axis] // 2)
    return torch.as_tensor(ResizeWithPadOrCrop(size)(image)).as_subclass(torch.Tensor)[None]
