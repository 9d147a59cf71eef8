"""Intensity transforms for a dataset: windows for CT, z-scores for other scans, one for colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from monai_semiseg.datasets.fingerprint import Fingerprint
from monai_semiseg.datasets.modality import dicom_modality
from monai_semiseg.images.volume import RGB


def intensity(fingerprint: Fingerprint, modality: str) -> dict[str, Any]:
    """Return the intensity transform for the channels of a dataset.

    CT keeps its scale: one window for all scans. Colours keep theirs: mean and standard deviation
    of the dataset, one for all three. All else is clipped and z-scored image by image, channel by
    channel.

    Args:
        fingerprint: the dataset's measurements.
        modality: of the channels whose name says none.
    """
    if fingerprint.channel_names == RGB:
        return {
            "_target_": "NormalizeIntensityd",
            "keys": "image",
            "subtrahend": round(fingerprint.mean, 4),
            "divisor": round(fingerprint.std, 4),
        }
    kinds = [modality]  # of the only channel, whatever its name: the user may know better
    if len(fingerprint.channel_names) > 1:
        kinds = [dicom_modality(name) or modality for name in fingerprint.channel_names]
    ct = [dicom_modality(kind) == "CT" for kind in kinds]
    if not any(ct):
        return z_score()
    windows = [_window(fingerprint, channel) for channel in range(len(ct))]
    if all(ct) and all(window == windows[0] for window in windows):
        return windows[0]
    steps = [window if is_ct else z_score() for window, is_ct in zip(windows, ct, strict=True)]
    return {
        "_target_": "monai_semiseg.transforms.intensity.EachChanneld",
        "keys": "image",
        "transforms": steps,
    }


def z_score() -> dict[str, Any]:
    """Return the transform that clips and z-scores every channel of an image."""
    clip = {
        "_target_": "ScaleIntensityRangePercentilesd",
        "keys": "image",
        "lower": 0.5,
        "upper": 99.5,
        "b_min": 0.0,
        "b_max": 1.0,
        "clip": True,
        "channel_wise": True,
    }
    normalise = {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}
    return {"_target_": "Compose", "transforms": [clip, normalise]}


def _window(fingerprint: Fingerprint, channel: int) -> dict[str, Any]:
    """Return the transform to the window of the labelled voxels, or of all if there are none."""
    whole = np.median(fingerprint.intensity_percentiles[:, channel], axis=0)
    found = fingerprint.foreground_percentiles
    low, _, high = tuple(float(p) for p in whole) if found is None else found[channel]
    return {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": round(low, 2),
        "a_max": round(high, 2),
        "b_min": -1.0,
        "b_max": 1.0,
        "clip": True,
    }
