"""What a folder of a training says about its model: enough to use it without its plan or bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_semiseg.bundles.keys import load_config
from monai_semiseg.bundles.locate import bundle_folder
from monai_semiseg.bundles.record import read_record
from monai_semiseg.errors import ConfigError


@dataclass(frozen=True)
class TrainedModel:
    """Weights, and how a workflow has to be set up for them.

    Attributes:
        weights: the file; None for those that a bundle ships.
        bundle: bundle folder; None if nothing beside the weights names it.
        settings: keys of the workflow's config, as they were in the training.
    """

    weights: Path | None = None
    bundle: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def open_trained_model(path: Path, config: str) -> TrainedModel:
    """Read what lies beside weights.

    Args:
        path: weights, or the folder of a training, which holds them as ``model.pt``.
        config: workflow that will use them: ``inference`` or ``evaluate``.

    Raises:
        ConfigError: If there are no weights, or the record beside them is damaged.
    """
    weights = path / "model.pt" if path.is_dir() else path
    if not weights.is_file():
        raise ConfigError(
            "no weights found",
            expected="a file of weights, or the folder of a training with model.pt",
            remedy="monai-semiseg train DATASET --output FOLDER makes one",
            path=weights,
        )
    record = read_record(weights)
    if record is None:
        return TrainedModel(weights)
    bundle = bundle_folder(record["bundle"])
    trained: dict[str, Any] = record["settings"]
    known = load_config(bundle / "configs" / f"{config}.json")
    settings = {key: value for key, value in trained.items() if key in known}
    return TrainedModel(weights, bundle, settings)
