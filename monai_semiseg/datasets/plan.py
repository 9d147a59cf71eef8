"""Training settings from a dataset's fingerprint, as YAML to merge over a bundle's config."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from monai_semiseg.datasets.fingerprint import Fingerprint
from monai_semiseg.datasets.geometry_statistics import min_max
from monai_semiseg.datasets.label_values import class_values
from monai_semiseg.datasets.modality import decide_modality, dicom_modality
from monai_semiseg.datasets.sides import decide_sides
from monai_semiseg.storage.files import available_memory, write_atomically


def plan(
    fingerprint: Fingerprint,
    *,
    memory: int | None = None,
    bytes_per_voxel: int = 1200,
    multiple: int = 8,
    max_voxels: int = 128 * 128 * 96,
    max_batch: int = 2,
    modality: str | None = None,
    sides: bool | None = None,
) -> dict[str, Any]:
    """Choose spacing, patch, batch, intensity window and channels.

    Args:
        fingerprint: the dataset's measurements.
        memory: bytes that training may use; by default half of what is free.
        bytes_per_voxel: training memory of the default network per patch voxel.
        multiple: divisor of every patch axis (two to the power of the network's downsamplings).
        max_voxels: the largest patch that a CPU trains in reasonable time.
        max_batch: the largest batch.
        modality: modality of the scans; by default from dataset, DICOM headers or values.
        sides: whether left and right are different classes; by default from the dataset or the
            names of the labels.

    Returns:
        Keys of the bundles' configs: ``spacing`` (mm, RAS), ``patch_size`` (voxels),
        ``batch_size``, ``out_channels``, ``label_values`` (number of every class in the label
        files), ``label_names`` (the same number -> name), ``intensity``, ``sides`` (then there is
        no mirroring), and ``training_scans`` for the comparison with new scans.
    """
    budget = (memory or available_memory() // 2) // bytes_per_voxel
    spacing = target_spacing(fingerprint.spacings)
    shapes = fingerprint.shapes * fingerprint.spacings / spacing
    patch = patch_size(np.median(shapes, axis=0), multiple, min(max_voxels, budget))
    kind, _ = decide_modality(fingerprint.modality, fingerprint.scans, modality)
    sided, _ = decide_sides(fingerprint.labels, fingerprint.sides, sides)
    return {
        "spacing": [float(s) for s in spacing],
        "patch_size": patch,
        "batch_size": max(1, min(max_batch, budget // math.prod(patch))),
        "out_channels": len(fingerprint.labels),
        "label_values": class_values(fingerprint.labels),
        "label_names": {str(value): name for value, name in sorted(fingerprint.labels.items())},
        "intensity": intensity(fingerprint, kind),
        "sides": sided,
        "flip_left_right": 0.0 if sided else 0.5,
        "mirror_axes": [] if sided else [0],
        "training_scans": _training_scans(fingerprint, kind),
    }


def _training_scans(fingerprint: Fingerprint, modality: str) -> dict[str, Any]:
    """Describe the training scans, for the comparison with scans that are segmented later.

    Returns:
        Minimum and maximum ``extent`` (field of view) and ``spacing``, in mm along right, anterior,
        superior; DICOM's code of the ``modality``, or None; minimum and maximum ``volume_ml`` of
        every label over the labelled scans.
    """
    return {
        "extent": min_max(fingerprint.shapes * fingerprint.spacings, 1),
        "spacing": min_max(fingerprint.spacings, 3),
        "modality": dicom_modality(modality),
        "volume_ml": {
            name: [round(value, 4) for value in ends]
            for name, ends in fingerprint.volumes_ml.items()
        },
    }


def decisions(
    fingerprint: Fingerprint, *, modality: str | None = None, sides: bool | None = None
) -> list[str]:
    """Return the decisions of :func:`plan` on modality and sides with reasons, one line each."""
    return [
        decide_modality(fingerprint.modality, fingerprint.scans, modality)[1],
        decide_sides(fingerprint.labels, fingerprint.sides, sides)[1],
    ]


def target_spacing(spacings: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the median voxel size in mm per axis, or a finer one along thick slices.

    If the slice axis is three times coarser than the others, the median would lose detail that half
    of the scans have; there, the 10th percentile is used, as in nnU-Net.
    """
    target = np.median(spacings, axis=0)
    coarse = int(np.argmax(target))
    if target[coarse] > 3 * target.min():
        target[coarse] = max(float(np.percentile(spacings[:, coarse], 10)), target.min())
    return np.asarray(np.round(target, 4))


def patch_size(shape: np.ndarray[Any, Any], multiple: int, max_voxels: int) -> list[int]:
    """Round a shape up to ``multiple`` per axis; shorten the longest axis until it fits.

    No axis is shorter than 16 and one is at least 32: four downsamplings have to leave more than
    one voxel.
    """
    patch = [max(16, math.ceil(round(float(n), 3) / multiple) * multiple) for n in shape]
    longest = int(np.argmax(patch))
    patch[longest] = max(32, patch[longest])
    while math.prod(patch) > max_voxels and max(patch) > 32:
        patch[int(np.argmax(patch))] -= multiple
    return patch


def intensity(fingerprint: Fingerprint, modality: str) -> dict[str, Any]:
    """Return the intensity transform: one window for all CT scans, z-scores for other scans."""
    if dicom_modality(modality) == "CT":
        whole = np.median(fingerprint.intensity_percentiles, axis=0)
        low, _, high = fingerprint.foreground_percentiles or tuple(float(p) for p in whole)
        return {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": round(low, 2),
            "a_max": round(high, 2),
            "b_min": -1.0,
            "b_max": 1.0,
            "clip": True,
        }
    clip = {
        "_target_": "ScaleIntensityRangePercentilesd",
        "keys": "image",
        "lower": 0.5,
        "upper": 99.5,
        "b_min": 0.0,
        "b_max": 1.0,
        "clip": True,
    }
    return {
        "_target_": "Compose",
        "transforms": [clip, {"_target_": "NormalizeIntensityd", "keys": "image"}],
    }


def write_plan(
    settings: dict[str, Any], path: Path, *, source: str, decided: Sequence[str] = ()
) -> Path:
    """Write a plan as YAML, with the decisions as comments, and return its path."""
    head = f"# Measured on {source} by monai-semiseg plan. Merged over a bundle's config:\n"
    head += "#   --config_file \"['BUNDLE/configs/train.json','plan.yaml']\"\n"
    head += "".join(f"# {line}\n" for line in decided)
    return write_atomically(
        path, head + yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)
    )
