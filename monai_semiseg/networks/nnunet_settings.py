"""Keys of the bundles' configs that make a workflow do what nnU-Net does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import eq
from pathlib import Path
from typing import Any

from monai.bundle import ReferenceResolver
from monai.bundle.utils import MERGE_KEY

from monai_semiseg.bundles.keys import load_config
from monai_semiseg.datasets.nnunet_dataset import NnunetDataset
from monai_semiseg.datasets.nnunet_plans import NnunetPlans
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.nnunet import network_config
from monai_semiseg.networks.nnunet_checkpoint import NnunetModel

Config = Mapping[str, Any]
_OWN_STEPS = ("DropSliceAxisd", "Spacingd", "@intensity")  # what nnU-Net's code does instead
_PLANS = {"plans": "@nnunet#plans", "configuration": "@nnunet#configuration"}
_DATASET = {"dataset": "@nnunet#dataset"}
_PREPROCESS = {
    "_target_": "monai_semiseg.transforms.nnunet.NnunetPreprocessd",
    "keys": "image",
    **_PLANS,
}
_RESTORE = {"_target_": "monai_semiseg.transforms.nnunet.NnunetLabeld", **_PLANS, **_DATASET}
_WINDOWS = {"_target_": "monai_semiseg.inferers.nnunet.NnunetInferer", **_PLANS, **_DATASET}


def model_settings(model: NnunetModel, config: Config) -> dict[str, Any]:
    """Return the keys that make an inference or evaluation config run a model of nnU-Net.

    The steps that load images and labels stay; those that follow, the inferer and the last step,
    to the scan's grid, become nnU-Net's.

    Args:
        model: as :func:`~monai_semiseg.networks.nnunet_checkpoint.open_nnunet_model` returns it.
        config: content of ``inference.json`` or ``evaluate.json`` of a bundle.
    """
    settings = {
        **_plan_keys(model.plans, model.dataset),
        **dict(_steps(config, model.plans)),
        "inferer": {**_WINDOWS, "mirror_axes": "@mirror_axes"},
        "mirror_axes": list(model.mirror_axes),
        "sides": False,
        "training_scans": {},  # nnU-Net keeps none to compare with
        "autocast_dtype": None,  # nnU-Net's code chooses for itself
        "ckpt_path": str(model.weights),
    }
    return {key: value for key, value in settings.items() if _is_known(key, config)}


def training_settings(
    plans: NnunetPlans, dataset: NnunetDataset, config: Config, *, preprocessed: bool = False
) -> dict[str, Any]:
    """Return the keys that make a training config learn on images as nnU-Net's plans want them.

    Args:
        plans: of the network.
        dataset: channels and labels.
        config: content of a ``train`` or ``pretrain`` config of a bundle.
        preprocessed: the images are files that nnU-Net has preprocessed already.
    """
    settings = {
        **_plan_keys(plans, dataset.with_classes()),
        **dict(_steps(config, plans, preprocessed)),
        "slice_axis": 0,
        "batch_size": plans.batch_size,
    }
    if preprocessed:
        del settings["nnunet"]  # no transform asks for it
        settings["training_scans"] = {}
    return {key: value for key, value in settings.items() if _is_known(key, config)}


def recorded_settings(record: Mapping[str, Any], weights: Path, config: Config) -> dict[str, Any]:
    """Return :func:`model_settings` for weights that this package trained under nnU-Net's plans.

    Args:
        record: settings of the training; those of one without such plans need none.
        weights: of the training.
        config: content of ``inference.json`` or ``evaluate.json`` of its bundle.
    """
    if "nnunet" not in record:
        return {}
    kept = record["nnunet"]
    plans = NnunetPlans(kept["plans"], kept["configuration"])
    dataset = NnunetDataset(tuple(record["channel_names"]), kept["dataset"]["labels"])
    settings = model_settings(NnunetModel(weights, plans, dataset, ()), config)
    return {key: value for key, value in settings.items() if key not in ("training_scans", "sides")}


def refuse_other_steps(files: Iterable[str | Path], settings: Mapping[str, Any]) -> None:
    """Refuse a config that changes what nnU-Net's plans decide: it would have no effect.

    Args:
        files: configs that are merged before the settings.
        settings: of a model; those of a model without such plans decide nothing.

    Raises:
        ConfigError: With the file and its key.
    """
    if "nnunet" not in settings:
        return
    decided = [ReferenceResolver.split_id(key) for key in settings]
    for file in files:
        for key, value in load_config(file).items():
            parts = ReferenceResolver.split_id(key.removeprefix(MERGE_KEY))
            is_decided = any(all(map(eq, parts, others)) for others in decided)
            if is_decided and settings.get(key) != value:
                raise ConfigError(
                    f"changes {key!r}, which nnU-Net's plans decide for these weights",
                    expected="other keys alone",
                    remedy="leave this --config out, or take weights without such plans",
                    path=file,
                )


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
        "slices": plans.spatial_dims == 2,  # nnU-Net's images have three axes, pictures too
        "spacing": plans.spacing,
        "patch_size": plans.patch_size,
        "channel_names": list(dataset.channel_names),
        "in_channels": len(dataset.channel_names),
        "out_channels": dataset.out_channels,
        "label_names": names,
        "label_values": [int(number) for number in names],
        "network_def": network_config(plans, "@in_channels", "@out_channels"),
    }


def _steps(
    node: Any, plans: NnunetPlans, preprocessed: bool = False, key: str = ""
) -> Iterator[tuple[str, list[Any]]]:
    """Yield each list of transforms that changes with nnU-Net, by its id in the config."""
    if isinstance(node, list):
        steps = [step for old in node for step in _changed(old, plans, preprocessed)]
        if steps != node:
            yield key, steps
    children = node.items() if isinstance(node, dict) else ()
    for name, value in children:
        yield from _steps(value, plans, preprocessed, f"{key}#{name}" if key else name)


def _changed(step: Any, plans: NnunetPlans, preprocessed: bool) -> list[Any]:
    """Return what stands in the place of one transform."""
    name = str(step.get("_target_") if isinstance(step, dict) else step)
    kind = name.rsplit(".", 1)[-1]
    if kind in _OWN_STEPS or (preprocessed and kind == "Orientationd"):
        return []
    if preprocessed and kind == "LoadImaged":
        reader = "monai_semiseg.images.nnunet_preprocessed.PreprocessedReader"
        keys = ("_target_", "keys", "channels")
        return [{**{key: step[key] for key in keys if key in step}, "reader": reader}]
    if kind == "Orientationd":
        ours = {**_PREPROCESS, "label_key": "label" if "label" in step["keys"] else None}
        return [step, ours] if plans.is_reoriented else [ours]
    if kind == "LabelOnScanGridd":
        return [{**step, **_RESTORE}]
    return [step]
