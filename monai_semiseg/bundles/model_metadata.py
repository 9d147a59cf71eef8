"""Metadata of trained weights in MONAI's form: what their network takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_semiseg.bundles.keys import load_config
from monai_semiseg.bundles.versions import with_installed_versions

_NEEDED = {
    *("spatial_dims", "in_channels", "out_channels"),
    *("channel_names", "label_names", "patch_size"),
}
_OF_SHIPPED_WEIGHTS = {
    *("eval_metrics", "references", "weights_sha256", "supported_apps"),
    *("data_source", "data_type", "image_classes"),
}
_NOT_STATED = "not stated"


def model_metadata(bundle_root: str | Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a ``metadata.json`` for weights that were trained with a bundle.

    Kept of the bundle's own are schema, version and intended use. Left out is what is true of the
    weights that the bundle ships alone: their data, results, references and hashes.

    Args:
        bundle_root: bundle folder.
        settings: of the training, see :func:`~monai_semiseg.bundles.record.settings_of`.

    Returns:
        Content by MONAI's schema; empty if the bundle has no metadata, or the settings do not say
        what the network takes and gives.
    """
    file = Path(bundle_root) / "configs" / "metadata.json"
    if not file.is_file() or not settings.keys() >= _NEEDED:
        return {}
    shipped = load_config(file)
    bundle = Path(bundle_root).resolve().name
    named = {int(number): str(name) for number, name in settings["label_names"].items()}
    names = [named[number] for number in sorted(named)]
    kept = {key: value for key, value in shipped.items() if key not in _OF_SHIPPED_WEIGHTS}
    return {
        **with_installed_versions(kept),
        "changelog": {shipped.get("version", "0.1.0"): f"trained with the bundle {bundle}"},
        "name": f"Weights trained with {bundle}",
        "task": f"Network for the segmentation of {settings['spatial_dims']}-D images",
        "description": "model.pt, and beside it the settings of its training in model.json",
        "authors": _NOT_STATED,
        "copyright": _NOT_STATED,
        "label_classes": ", ".join(f"{number}: {named[number]}" for number in sorted(named)),
        "pred_classes": f"{len(names)} channels, softmax; argmax is the class",
        "network_data_format": _data_format(settings, names),
    }


def _data_format(settings: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    modality = (settings.get("training_scans") or {}).get("modality")
    shared = {
        "type": "image",
        "spatial_shape": list(settings["patch_size"]),
        "dtype": "float32",
        "is_patch_data": True,
    }
    image = {
        **shared,
        "format": "hounsfield" if modality == "CT" else "magnitude",
        "modality": modality or "n/a",
        "num_channels": settings["in_channels"],
        "value_range": [],  # MONAI's word for not known: the transforms of model.json decide
        "channel_def": _numbered(settings["channel_names"]),
    }
    pred = {
        **shared,
        "format": "segmentation",
        "num_channels": settings["out_channels"],
        "value_range": [0, 1],
        "channel_def": _numbered(names),
    }
    return {"inputs": {"image": image}, "outputs": {"pred": pred}}


def _numbered(names: list[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}
