"""Runner for bundles of the Model Zoo: their transforms and network, this package's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semiseg.bundles.keys import load_config, merge_configs
from monai_semiseg.errors import ConfigError
from monai_semiseg.inference.runner import BatchRunner

_READER = "monai_semiseg.images.reader.ScanReader"


def has_runner(bundle: Path) -> bool:
    """Return True if the bundle's config has a runner of this package."""
    file = bundle / "configs" / "inference.json"
    return not file.is_file() or "runner" in load_config(file)


def open_zoo_bundle(
    bundle: Path,
    settings: dict[str, Any],
    overlays: Sequence[Path] = (),
    *,
    inputs: Sequence[str],
    output: str,
    **options: Any,
) -> BatchRunner:
    """Build a runner from ``configs/inference.json`` and ``metadata.json``.

    Used are ``network`` (or ``network_def``), ``preprocessing``, ``inferer``, ``postprocessing``
    and ``device``; names of labels, and of channels if there are several, come from the metadata's
    ``channel_def``. Scans are read by this package's reader. It also writes masks, report and
    pictures: the bundle's own savers are left out.

    Args:
        bundle: bundle folder.
        settings: overrides of config keys; ``ckpt_path`` names other weights than
            ``models/model.pt``.
        overlays: files merged over the config.
        inputs: files and folders of scans.
        output: folder for the results.
        options: of :class:`~monai_semiseg.inference.runner.BatchRunner`.

    Raises:
        ConfigError: If the bundle lacks one of them, or a key has no place in its config.
    """
    weights = settings.get("ckpt_path", bundle / "models" / "model.pt")
    parser = _parser(bundle, settings, overlays)
    get = parser.get_parsed_content
    network = get("network" if parser.get("network") is not None else "network_def")
    device = get("device") if parser.get("device") is not None else "cpu"
    return BatchRunner(
        network=network.to(device),
        weights=str(weights),
        preprocessing=get("preprocessing"),
        inferer=get("inferer"),
        postprocessing=get("postprocessing"),
        inputs=list(inputs),
        output_dir=output,
        device=device,
        label_names=_names(parser, bundle),
        channel_names=_channels(parser),
        **options,
    )


def _parser(bundle: Path, settings: dict[str, Any], overlays: Sequence[Path]) -> ConfigParser:
    """Read the bundle's config, with this package's reader and without savers."""
    added = {"bundle_root": str(bundle)}
    if "device" in settings:
        added["device"] = settings["device"]
    overrides = {key: settings[key] for key in settings if key not in ("ckpt_path", "device")}
    parser = ConfigParser()
    parser.read_config(merge_configs([bundle / "configs" / "inference.json", *overlays], overrides))
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    parser.update(added)
    for key in ("preprocessing", "inferer", "postprocessing"):
        if parser.get(key) is None:
            raise ConfigError(
                f"configs/inference.json has no {key!r}",
                expected="a bundle as in the Model Zoo",
                path=bundle,
            )
    parser["preprocessing"] = _with_reader(parser["preprocessing"], _channels(parser), bundle)
    parser["postprocessing"] = _without_savers(parser["postprocessing"])
    return parser


def _names(parser: ConfigParser, bundle: Path) -> dict[str, str]:
    try:
        names: dict[str, str] = dict(parser["_meta_#network_data_format#outputs#pred#channel_def"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "configs/metadata.json names no labels",
            expected="network_data_format#outputs#pred#channel_def",
            path=bundle,
        ) from error
    return names


def _channels(parser: ConfigParser) -> list[str]:
    """Return the names of the image's channels; none if the metadata names fewer than two."""
    named = parser.get("_meta_#network_data_format#inputs#image#channel_def") or {}
    return [str(name) for name in named.values()] if len(named) > 1 else []


def _with_reader(
    preprocessing: dict[str, Any], channels: Sequence[str], bundle: Path
) -> dict[str, Any]:
    steps = [dict(step) for step in preprocessing.get("transforms", [])]
    loaders = [
        step for step in steps if str(step.get("_target_", "")).rsplit(".", 1)[-1] == "LoadImaged"
    ]
    if len(loaders) != 1 or loaders[0].get("keys") not in ("image", ["image"]):
        raise ConfigError(
            "preprocessing does not load one 'image'",
            expected="one LoadImaged with keys 'image'",
            path=bundle,
        )
    loaders[0] |= {"reader": _READER, "channels": list(channels)}
    return {**preprocessing, "transforms": steps}


def _without_savers(postprocessing: dict[str, Any]) -> dict[str, Any]:
    steps = [
        step
        for step in postprocessing.get("transforms", [])
        if not isinstance(step, dict) or "SaveImage" not in str(step.get("_target_", ""))
    ]
    return {**postprocessing, "transforms": steps}
