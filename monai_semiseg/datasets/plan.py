"""Training settings from a dataset's fingerprint, as YAML to merge over a bundle's config."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monai_semiseg.datasets.fingerprint import Fingerprint
from monai_semiseg.datasets.geometry_statistics import min_max
from monai_semiseg.datasets.intensity import intensity
from monai_semiseg.datasets.label_values import class_values
from monai_semiseg.datasets.modality import decide_modality, dicom_modality
from monai_semiseg.datasets.patches import Patches, choose_patches
from monai_semiseg.datasets.sides import decide_sides
from monai_semiseg.images.volume import RGB
from monai_semiseg.storage.files import available_memory, write_atomically


@dataclass(frozen=True)
class Wishes:
    """Hold what a user asks a plan for; None leaves it to the dataset.

    Attributes:
        modality: modality of the scans.
        sides: whether left and right are different classes.
        spatial_dims: 2 for a 2-D network over the slices of 3-D scans; 3 for a 3-D network
            whatever the slices' thickness.
        upright: whether the images have an up, as chest films have and skin photographs have not.
    """

    modality: str | None = None
    sides: bool | None = None
    spatial_dims: int | None = None
    upright: bool | None = None


def plan(
    fingerprint: Fingerprint,
    wishes: Wishes | None = None,
    *,
    memory: int | None = None,
    bytes_per_voxel: int = 1200,
) -> dict[str, Any]:
    """Choose dimensions, spacing, patch, batch, intensity, channels and augmentation.

    Args:
        fingerprint: the dataset's measurements.
        wishes: what the user asks for.
        memory: bytes that training may use; by default half of what is free.
        bytes_per_voxel: training memory of the default network per patch voxel.

    Returns:
        Keys of the bundles' configs: ``spatial_dims``, ``slices`` and ``slice_axis`` (a 2-D network
        over slices), ``channel_names`` and ``in_channels``, ``spacing`` (mm in RAS, or px),
        ``patch_size`` (voxels), ``batch_size``, ``out_channels``, ``label_values`` (number of every
        class in the label files), ``label_names`` (the same number -> name), ``intensity``,
        ``sides`` (then there is no mirroring), flips and rotations, and ``training_scans`` for the
        comparison with new scans.

    Raises:
        ConfigError: If a 3-D network is asked for 2-D images.
    """
    wishes = wishes or Wishes()
    budget = (memory or available_memory() // 2) // bytes_per_voxel
    patches = choose_patches(fingerprint, budget, wishes.spatial_dims)
    kind, _ = _modality(fingerprint, wishes)
    sided, _ = decide_sides(fingerprint.labels, fingerprint.sides, wishes.sides)
    upright, _ = decide_upright(fingerprint, wishes.upright)
    return {
        "spatial_dims": patches.spatial_dims,
        "slices": patches.slices,
        "slice_axis": patches.slice_axis,
        "channel_names": list(fingerprint.channel_names),
        "stack_pages": fingerprint.stack_pages,
        "in_channels": len(fingerprint.channel_names),
        "spacing": patches.spacing,
        "patch_size": patches.patch_size,
        "batch_size": patches.batch_size,
        "out_channels": len(fingerprint.labels),
        "label_values": class_values(fingerprint.labels),
        "label_names": {str(value): name for value, name in sorted(fingerprint.labels.items())},
        "intensity": intensity(fingerprint, kind),
        "sides": sided,
        **_turns(patches, sided, upright),
        "colour_jitter": 0.5 if fingerprint.channel_names == RGB else 0.0,
        "training_scans": _training_scans(fingerprint, kind),
    }


def _turns(patches: Patches, sided: bool, upright: bool) -> dict[str, Any]:
    """Return probabilities of flips, axes that prediction mirrors, and the largest angle."""
    left_right = 0.0 if sided else 0.5
    front_back = 0.15 if upright else 0.5
    angle = 0.35 if upright else round(math.pi, 4)
    if patches.slices and patches.slice_axis == 0:  # sagittal: no axis runs from left to right
        left_right = 0.0
    if patches.slices and patches.slice_axis != 2:  # the second axis runs upwards
        front_back = 0.0
    return {
        "flip_left_right": left_right,
        "flip_front_back": front_back,
        "mirror_axes": _mirrored(patches, left_right, upright),
        "rotation": angle,
    }


def _mirrored(patches: Patches, left_right: float, upright: bool) -> list[int]:
    """Return the axes whose mirror images are averaged: both of 2-D images without an up."""
    if not left_right:
        return []
    return [0] if upright or patches.slices else [0, 1]


def decide_upright(fingerprint: Fingerprint, asked: bool | None) -> tuple[bool, str]:
    """Return whether the images have an up, and one line that says why."""
    if asked is not None:
        word = "have" if asked else "do not have"
        return asked, f"rotation: the images {word} an up, asked for"
    if fingerprint.spatial_dims == 2 and fingerprint.channel_names == RGB:
        return False, "rotation: any angle, since colour photographs have no up; --upright true"
    return True, "rotation: small angles, since scans have an up; --upright false turns them freely"


def _training_scans(fingerprint: Fingerprint, modality: str) -> dict[str, Any]:
    """Describe the training scans, for the comparison with scans that are segmented later.

    Returns:
        Minimum and maximum ``extent`` (field of view) and ``spacing``, in the ``unit`` along right,
        anterior, superior, without the axis of one voxel of 2-D images; DICOM's code of the
        ``modality``, or None; minimum and maximum ``volume_ml`` of every label over the labelled
        scans, of 2-D images ``area``.
    """
    flat = fingerprint.spatial_dims == 2
    return {
        "unit": fingerprint.unit,
        "extent": min_max(fingerprint.shapes * fingerprint.spacings, 1),
        "spacing": min_max(fingerprint.spacings, 3),
        "modality": dicom_modality(modality),
        "area" if flat else "volume_ml": {
            name: [round(value, 4) for value in ends]
            for name, ends in fingerprint.volumes_ml.items()
        },
    }


def decisions(fingerprint: Fingerprint, wishes: Wishes | None = None) -> list[str]:
    """Return the decisions of :func:`plan` with reasons, one line each."""
    wishes = wishes or Wishes()
    patches = choose_patches(fingerprint, None, wishes.spatial_dims)
    return [
        patches.reason,
        _scale_line(fingerprint, wishes),
        decide_sides(fingerprint.labels, fingerprint.sides, wishes.sides)[1],
        decide_upright(fingerprint, wishes.upright)[1],
    ]


def _scale_line(fingerprint: Fingerprint, wishes: Wishes) -> str:
    """Return one line that says how values are scaled, and why."""
    if fingerprint.channel_names == RGB:
        return "intensity: colours, by one mean and deviation of the training images"
    return _modality(fingerprint, wishes)[1]


def _modality(fingerprint: Fingerprint, wishes: Wishes) -> tuple[str, str]:
    return decide_modality(
        fingerprint.modality, fingerprint.scans, wishes.modality, fingerprint.channel_names
    )


def plan_text(settings: dict[str, Any], *, source: str, decided: Sequence[str] = ()) -> str:
    """Return a plan as the YAML text of its file, with the decisions as comments."""
    head = f"# Measured on {source} by monai-semiseg plan. Merged over a bundle's config:\n"
    head += "#   --config_file \"['BUNDLE/configs/train.json','plan.yaml']\"\n"
    head += "".join(f"# {line}\n" for line in decided)
    return head + yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)


def write_plan(
    settings: dict[str, Any], path: Path, *, source: str, decided: Sequence[str] = ()
) -> Path:
    """Write a plan and return its path."""
    return write_atomically(path, plan_text(settings, source=source, decided=decided))
