"""Facts about a folder run: for its report, and to tell it from other runs."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose

from monai_semiseg import __version__
from monai_semiseg.inference.described import described
from monai_semiseg.inference.expected_image import ExpectedImage
from monai_semiseg.inference.out_of_distribution import TrainingDomain
from monai_semiseg.inference.outputs import CaseOutputs
from monai_semiseg.storage.files import sha256_of


@dataclass(frozen=True)
class RunFacts:
    """Weights, settings and inputs of a folder run.

    Attributes:
        weights: file of the weights.
        inputs: files, folders, .zip archives.
        steps: transforms before and after the network.
        inferer: that runs the network.
        names: label number -> name.
        device: of the network.
        domain: properties of the training scans, and what is done with unlike scans.
        expected: channels of the images.
        outputs: kinds of files that the run writes.
        each_frame: every frame of a DICOM cine is an image.
        about: further facts.
    """

    weights: Path
    inputs: Sequence[str | Path]
    steps: Sequence[Any]
    inferer: Any
    names: Mapping[int, str]
    device: torch.device
    domain: TrainingDomain
    expected: ExpectedImage
    outputs: CaseOutputs
    each_frame: bool
    about: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the weights; empty if there is no such file."""
        return sha256_of(self.weights) if self.weights.is_file() else ""

    def identity(self) -> dict[str, Any]:
        """Return everything that the masks of one run have in common."""
        shown = list(self.outputs.preview_channels)
        return {
            "weights_sha256": self.digest,
            "labels": self.names,
            "transforms": described(self.steps),
            "inferer": described(self.inferer),
            "training_scans": self.domain.training,
            "on_flag": self.domain.on_flag,
            "preview": self.outputs.preview,
            "output": self.outputs.kinds,
            **({"preview_channels": shown} if shown else {}),
            **self.about,
        }

    def report(self) -> dict[str, Any]:
        """Return what the run's report says beside the results of the cases."""
        return {
            "tool": f"monai_semiseg {__version__}, research use only",
            "weights_sha256": self.digest,
            "device": str(self.device),
            "on_flag": self.domain.on_flag,
            "inputs": [str(Path(one).resolve()) for one in self.inputs],
            "channel_names": list(self.expected.channel_names),
            "frames": "each" if self.each_frame else None,
            "label_names": {str(number): name for number, name in self.names.items()},
            "python": platform.python_version(),
            "torch": torch.__version__,
            **self.about,
        }


def steps_of(transform: Any) -> Sequence[Any]:
    """Return the steps of a MONAI ``Compose``, or the transform itself."""
    return transform.flatten().transforms if isinstance(transform, Compose) else (transform,)
