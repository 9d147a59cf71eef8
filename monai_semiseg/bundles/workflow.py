"""Open and run bundles from Python as ``python -m monai.bundle run`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_semiseg.bundles.keys import merge_configs
from monai_semiseg.errors import ConfigError


def open_workflow(
    bundle: str | Path,
    config: str,
    settings: dict[str, Any] | None = None,
    overlays: Sequence[str | Path] = (),
) -> ConfigWorkflow:
    """Open one workflow of a bundle, not yet initialised.

    Args:
        bundle: bundle folder.
        config: name in ``configs/`` without suffix (``train``, ``evaluate``, ``inference``).
        settings: overrides of config keys.
        overlays: further config files that are merged over it (a plan, a method). Unknown keys are
            refused (:func:`~monai_semiseg.bundles.keys.merge_configs`).

    Raises:
        ConfigError: If the bundle, a config or an overlay is absent, or a key is unknown.
    """
    root = Path(bundle).resolve()
    files = _existing_files(Path(bundle), config, overlays)
    settings = dict(settings or {})
    merge_configs(files, settings)
    return ConfigWorkflow(
        config_file=files,
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train" if config.startswith(("train", "pretrain")) else "infer",
        bundle_root=str(root),
        **settings,
    )


def _existing_files(bundle: Path, config: str, overlays: Sequence[str | Path]) -> list[str]:
    """Return the files that are merged; raise ConfigError if one is absent."""
    file = bundle.resolve() / "configs" / f"{config}.json"
    if not file.is_file():
        raise ConfigError(
            f"no configs/{config}.json",
            expected="a MONAI bundle folder",
            remedy="name the folder that holds configs/ and models/",
            path=bundle,
        )
    files = [file, *(Path(overlay).resolve() for overlay in overlays)]
    for other in files:
        if not other.is_file():
            expected = "a config to merge over the bundle's"
            raise ConfigError("no such file", expected=expected, path=other)
    return [str(name) for name in files]


def run_workflow(
    bundle: str | Path,
    config: str,
    settings: dict[str, Any] | None = None,
    overlays: Sequence[str | Path] = (),
) -> ConfigWorkflow:
    """Open, initialise and run one workflow of a bundle.

    Its ``finalize``, which ends the process, is not called.
    """
    workflow = open_workflow(bundle, config, settings, overlays)
    workflow.initialize()
    workflow.run()
    return workflow
