"""Settings of an arm against the configs that they are merged over, before any cell runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from monai_semiseg.bundles.keys import merge_configs
from monai_semiseg.errors import ConfigError
from monai_semiseg.study.arms import Arm


def refuse_unknown_settings(arms: Sequence[Arm]) -> None:
    """Refuse arms with a key that one of their steps does not have.

    A cell would find it as well, but only when its turn comes: in a long study, hours later.

    Raises:
        ConfigError: With the arm, the step, the key and the most similar known key.
    """
    for arm in arms:
        for number, stage in enumerate(arm.stages, 1):
            config = stage.bundle / "configs" / stage.config
            _merge(f"arm {arm.name!r}, pretrain {number}", config, stage.overlays, stage.settings)
        configs = arm.bundle / "configs"
        _merge(f"arm {arm.name!r}", configs / "train.json", arm.overlays, arm.settings)
        evaluation = configs / "evaluate.json"
        settings = settings_of_evaluation(arm, evaluation)
        _merge(f"arm {arm.name!r}, evaluation", evaluation, arm.evaluate_overlays, settings)


def settings_of_evaluation(arm: Arm, config: Path) -> dict[str, Any]:
    """Return those of an arm's settings that its evaluation has, too."""
    keys = ConfigParser.load_config_file(config)
    return {key: value for key, value in arm.settings.items() if key.split("#")[0] in keys}


def _merge(step: str, config: Path, overlays: Sequence[Path], settings: Mapping[str, Any]) -> None:
    # A text becomes what monai.bundle's own parser makes of it in a cell: "[32, 32]" is a list.
    values = {
        key: DefaultParseValue(value) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    try:
        merge_configs([config, *overlays], values)
    except ConfigError as error:
        raise ConfigError(
            f"{step}: {error.found}",
            expected=error.expected,
            remedy=error.remedy,
            path=error.path or config,
        ) from error
