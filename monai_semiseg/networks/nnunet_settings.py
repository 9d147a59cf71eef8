"""Keys of the bundles' configs that make a workflow do what nnU-Net does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monai_semiseg.datasets.nnunet_plans import NnunetDataset, NnunetPlans
from monai_semiseg.networks.nnunet import network_config
from monai_semiseg.networks.nnunet_checkpoint import NnunetModel

Config = Mapping[str, Any]
_OWN_STEPS = ("DropSliceAxisd", "Spacingd", "@intensity")  # what nnU-Net's code does instead
_PLANS = {"plans": "@nnunet#plans", "configuration": "@nnunet#configuration"}


def model_settings(model: NnunetModel, config: Config) -> dict[str, Any]:
    """Return the keys that make an inference or evaluation config run a model of nnU-Net.

    The steps that load images and labels stay; those that follow, the inferer and the last step,
    to the scan's grid, become nnU-Net's.

    Args:
        model: as :func:`~monai_semiseg.networks.nnunet_checkpoint.open_nnunet_model` returns it.
        config: content of ``inference.json`` or ``evaluate.json`` of a bundle.
    """
    windows = {
        "_target_": "monai_semiseg.inferers.nnunet.NnunetInferer",
        **_PLANS,
        "dataset": "@nnunet#dataset",
        "mirror_axes": list(model.mirror_axes),
    }
    settings = {
        **_plan_keys(model.plans, model.dataset),
        **dict(_steps(config, model.plans)),
        "inferer": windows,
        "mirror_axes": list(model.mirror_axes),
        "sides": False,
        "slices": model.plans.spatial_dims == 2,
        "training_scans": {},
        "autocast_dtype": None,  # nnU-Net's code chooses for itself
        "ckpt_path": str(model.weights),
    }
    return {key: value for key, value in settings.items() if _is_known(key, config)}


def training_settings(
    plans: NnunetPlans, dataset: NnunetDataset, config: Config, *, slices: bool
) -> dict[str, Any]:
    """Return the keys that make a training config learn on images as nnU-Net's plans want them.

    Args:
        plans: of the network.
        dataset: channels and labels.
        config: content of a ``train`` or ``pretrain`` config of a bundle.
        slices: whether the images are scans and the network is a 2-D one.
    """
    settings = {
        **_plan_keys(plans, dataset),
        **dict(_steps(config, plans)),
        "slices": slices,
        "slice_axis": 0,
        "batch_size": plans.batch_size,
        "training_scans": {},
    }
    return {key: value for key, value in settings.items() if _is_known(key, config)}


def _is_known(key: str, config: Config) -> bool:
    return key == "nnunet" or key.split("#")[0] in config


def _plan_keys(plans: NnunetPlans, dataset: NnunetDataset) -> dict[str, Any]:
    names = dataset.label_names
    return {
        "nnunet": {
            "plans": dict(plans.content),
            "configuration": plans.configuration,
            "dataset": dataset.as_json,
        },
        "spatial_dims": plans.spatial_dims,
        "spacing": plans.spacing,
        "patch_size": plans.patch_size,
        "channel_names": list(dataset.channel_names),
        "in_channels": len(dataset.channel_names),
        "out_channels": dataset.out_channels,
        "label_names": names,
        "label_values": [int(number) for number in names],
        "network_def": network_config(plans, "@in_channels", "@out_channels"),
    }


def _steps(node: Any, plans: NnunetPlans, key: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yield each list of transforms that changes with nnU-Net, by its id in the config."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _steps(value, plans, f"{key}#{name}" if key else name)
    elif isinstance(node, list):
        steps = [step for old in node for step in _changed(old, plans)]
        if steps != node:
            yield key, steps
            return
        for number, value in enumerate(node):
            yield from _steps(value, plans, f"{key}#{number}")


def _changed(step: Any, plans: NnunetPlans) -> list[Any]:
    """Return what stands in the place of one transform."""
    name = str(step["_target_"] if isinstance(step, dict) and "_target_" in step else step)
    kind = name.rsplit(".", 1)[-1]
    if kind == "Orientationd":
        keys = step["keys"] if isinstance(step["keys"], list) else [step["keys"]]
        ours = {
            "_target_": "monai_semiseg.transforms.nnunet.NnunetPreprocessd",
            "keys": "image",
            **_PLANS,
            "label_key": "label" if "label" in keys else None,
            "slices": "@slices",
        }
        return [step, ours] if plans.is_reoriented else [ours]
    if kind == "LabelOnScanGridd":
        ours = {key: value for key, value in step.items() if key in ("keys", "orig_keys")}
        if "uncertainty_key" in step:
            ours["uncertainty_key"] = step["uncertainty_key"]
        target = "monai_semiseg.transforms.nnunet.NnunetLabeld"
        return [{**ours, "_target_": target, **_PLANS, "dataset": "@nnunet#dataset"}]
    return [] if kind in _OWN_STEPS else [step]
