"""Random scans and photographs for folder runs, and a network that takes the photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter


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
