"""Fingerprint of a training: data list, plan, config and method, compared on resume."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semiseg.bundles.caller import calling
from monai_semiseg.bundles.model_metadata import model_metadata
from monai_semiseg.bundles.record import is_free, leaves, settings_of
from monai_semiseg.datasets.datalist import load_datalist
from monai_semiseg.errors import ConfigError

_TRAINED_ON = ("training", "unlabeled", "validation")


@dataclass(frozen=True)
class TrainingFingerprint:
    """Description of one training in plain values.

    Attributes:
        bundle: name of the bundle.
        settings: top-level settings, as :func:`~monai_semiseg.bundles.record.settings_of`.
        config: every text and number of the config that is not free, by id.
        data: sections of the data list in use, each as its number of scans and their hash.
        metadata: of the weights, in MONAI's form; not compared.
    """

    bundle: str
    settings: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, str]
    metadata: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return all values that have to stay the same, by name, the data and the method first."""
        sections = {f"datalist {name}": text for name, text in self.data.items()}
        method = {"method": self.config.get("train::trainer::_target_")}
        return {**sections, **method, **self.config}


def training_fingerprint(datalist: str, bundle_root: str = ".") -> TrainingFingerprint:
    """Create the fingerprint of the training whose config calls this function.

    Args:
        datalist: JSON file; if absent, the scans are part of the config itself.
        bundle_root: bundle folder.

    Raises:
        ConfigError: If no config is being evaluated.
    """
    parser = calling(ConfigParser)
    if parser is None:
        raise ConfigError("no config is being evaluated", expected="a _target_ in a MONAI config")
    content = load_datalist(datalist) if Path(datalist).is_file() else {}
    settings = settings_of(parser)
    return TrainingFingerprint(
        bundle=Path(bundle_root).resolve().name,
        settings=settings,
        config=leaves(parser.get(), leave_out=is_free),
        data={name: _section(content[name]) for name in _TRAINED_ON if name in content},
        metadata=model_metadata(bundle_root, settings),
    )


def _section(entries: list[Any]) -> str:
    text = json.dumps(entries, sort_keys=True)
    return f"{len(entries)} scans ({hashlib.sha256(text.encode()).hexdigest()[:12]})"
