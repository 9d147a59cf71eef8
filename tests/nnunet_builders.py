"""Plans, datasets and checkpoints of nnU-Net, made up for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

_RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def architecture(kind: str = "PlainConvUNet", dims: int = 3) -> dict[str, Any]:
    """Return the architecture block of a tiny network of two stages."""
    blocks = "n_blocks_per_stage" if kind == "ResidualEncoderUNet" else "n_conv_per_stage"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": [[3] * dims, [3] * dims],
            "strides": [[1] * dims, [2] * dims],
            blocks: [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def configuration(kind: str = "PlainConvUNet", dims: int = 3, channels: int = 1) -> dict[str, Any]:
    """Return one configuration of plans; its spacing along z, y, x is 2, 1.5 and 1 mm."""
    probabilities = {**_RESAMPLING, "order": 1}
    return {
        "data_identifier": f"nnUNetPlans_{dims}d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 16, 12][-dims:],
        "spacing": [2.0, 1.5, 1.0][-dims:],
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [True] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": _RESAMPLING,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**probabilities, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": probabilities,
        "architecture": architecture(kind, dims),
        "batch_dice": False,
    }


def plans_content(channels: int = 1, **changes: Any) -> dict[str, Any]:
    """Return plans with the configurations ``2d`` and ``3d_fullres``."""
    return {
        "dataset_name": "Dataset001_Boxes",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {str(n): {} for n in range(channels)},
        "label_manager": "LabelManager",
        "configurations": {
            "2d": configuration(dims=2, channels=channels),
            "3d_fullres": configuration(channels=channels),
        },
        **changes,
    }


def dataset_content(**changes: Any) -> dict[str, Any]:
    """Return ``dataset.json`` of one channel and one label."""
    labels = {"background": 0, "box": 1}
    return {"channel_names": {"0": "MRI"}, "labels": labels, "file_ending": ".nii.gz", **changes}


def write_folder(
    folder: Path,
    plans: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    name: str = "plans.json",
) -> Path:
    """Write plans and ``dataset.json`` into a folder; return the plans' path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(plans or plans_content()))
    (folder / "dataset.json").write_text(json.dumps(dataset or dataset_content()))
    return folder / name


def write_checkpoint(
    folder: Path,
    weights: dict[str, torch.Tensor],
    configuration: str = "3d_fullres",
    **changes: Any,
) -> Path:
    """Write ``fold_0/checkpoint_final.pth`` with all that nnU-Net keeps in it."""
    file = folder / "fold_0" / "checkpoint_final.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "network_weights": weights,
        "optimizer_state": {},
        "grad_scaler_state": None,
        "logging": {"dice": [[np.float32(0.5)]], "loss": [np.float64(1.0)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1,
        "init_args": {"configuration": configuration, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **changes,
    }
    torch.save(content, file)
    return file
