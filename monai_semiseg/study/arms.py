"""Arms of a study: the ways to train that it compares, from method names or from a YAML file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_semiseg.bundles.locate import SUPERVISED, bundle_folder, method_overlay
from monai_semiseg.errors import ConfigError

REFERENCE = SUPERVISED
# A control for the gates: its cells are in results.csv, and in no ranking.
LONGER = f"{REFERENCE}_twice_the_iterations"
_ARM_KEYS = ("bundle", "overlays", "evaluate_overlays", "settings", "initialisation", "pretrain")
_STAGE_KEYS = ("bundle", "config", "overlays", "settings", "hands_to")


@dataclass(frozen=True)
class Stage:
    """A pretraining before a cell's training, on the cell's split; its weights start later steps.

    Attributes:
        bundle: bundle folder.
        config: file in its ``configs``.
        overlays: files merged over it.
        settings: overrides of config keys.
        hands_to: config key that gets the path of its weights, in all later steps that have this
            key.
    """

    bundle: Path
    config: str = "pretrain.json"
    overlays: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    hands_to: str = "init_weights"


@dataclass(frozen=True)
class Arm:
    """One way to train: a bundle's ``train.json``, overlays, settings and initial weights.

    Attributes:
        name: in tables and folder names.
        bundle: bundle folder.
        overlays: YAML or JSON files, in the order in which they are merged, after the plan.
        settings: overrides of config keys; those that ``evaluate.json`` has too are applied there
            as well.
        evaluate_overlays: files merged over ``evaluate.json``, for an arm that predicts in another
            way.
        initialisation: weights to start from; None starts at random.
        stages: pretraining, in order; the first one starts from ``initialisation``.
    """

    name: str
    bundle: Path
    overlays: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    initialisation: Path | None = None
    stages: tuple[Stage, ...] = ()
    evaluate_overlays: tuple[Path, ...] = ()


def longer_reference(arms: Sequence[Arm], iterations: int) -> Arm:
    """Return supervised learning with twice its iterations.

    Args:
        arms: of the study.
        iterations: of every training.

    Raises:
        ConfigError: If supervised learning is not among the arms.
    """
    for arm in arms:
        if arm.name == REFERENCE:
            twice = 2 * int(arm.settings.get("iterations", iterations))
            return replace(arm, name=LONGER, settings={**arm.settings, "iterations": twice})
    raise ConfigError(
        f"gates without an arm {REFERENCE!r}",
        expected=f"{REFERENCE} among the methods or arms, because the gates measure it",
    )


def arms_from(methods: Sequence[str], initialisations: Sequence[str], bundle: Path) -> list[Arm]:
    """Return one arm per method and initialisation.

    Args:
        methods: names as in :func:`~monai_semiseg.bundles.locate.methods_of`.
        initialisations: ``random``, or ``NAME=FILE``.
        bundle: bundle folder.

    Raises:
        ConfigError: If a method, a file or the bundle does not exist.
    """
    if not (bundle / "configs" / "train.json").is_file():
        raise ConfigError("no configs/train.json", expected="a bundle folder", path=bundle)
    arms = []
    for start in initialisations:
        suffix, weights = _initial_weights(start)
        for method in methods:
            overlay = method_overlay(bundle, method)
            overlays = () if overlay is None else (overlay,)
            arms.append(Arm(method + suffix, bundle, overlays, {}, weights))
    return arms


def _initial_weights(start: str) -> tuple[str, Path | None]:
    """Read ``random`` or ``NAME=FILE``; return the suffix of the arm's name, and the file."""
    label, _, file = start.partition("=")
    if label == "random" and not file:
        return "", None
    if label == "random" or not file or not Path(file).is_file():
        raise ConfigError(
            f"initialisation {start!r}",
            expected="random, or NAME=FILE with weights that exist",
        )
    return f"+{label}", Path(file).resolve()


def arms_of_file(content: Mapping[str, Any], bundle: Path) -> list[Arm]:
    """Return the arms of a study's YAML.

    ``arms: {NAME: {bundle, overlays, evaluate_overlays, settings, initialisation, pretrain}}``.
    Every key is optional; ``pretrain`` is a list of ``{bundle, config, overlays, settings,
    hands_to}``.

    Raises:
        ConfigError: If a key is unknown or a file does not exist.
    """
    return [_arm(str(name), given, bundle) for name, given in content.items()]


def _arm(name: str, given: Any, bundle: Path) -> Arm:
    described = mapping_of(given, _ARM_KEYS, f"arm {name!r}")
    stages = tuple(_stage(stage, name) for stage in described.get("pretrain", []))
    root = bundle_folder(described.get("bundle", bundle))
    _check_stages(stages, _existing(root / "configs" / "train.json", name), name)
    start = described.get("initialisation")
    return Arm(
        name,
        root,
        _files(described.get("overlays", []), name),
        described.get("settings") or {},
        _existing(Path(start), name) if start else None,
        stages,
        _files(described.get("evaluate_overlays", []), name),
    )


def _stage(given: Any, name: str) -> Stage:
    described = mapping_of(given, _STAGE_KEYS, f"arm {name!r}")
    root = bundle_folder(described.get("bundle", ""))
    config = described.get("config", "pretrain.json")
    _existing(root / "configs" / config, name)
    return Stage(
        root,
        config,
        _files(described.get("overlays", []), name),
        described.get("settings") or {},
        described.get("hands_to", "init_weights"),
    )


def _check_stages(stages: Sequence[Stage], train: Path, name: str) -> None:
    """Refuse a stage whose weights no later step would load."""
    for number, stage in enumerate(stages, 1):
        later = [*(other.bundle / "configs" / other.config for other in stages[number:]), train]
        if not any(stage.hands_to in json.loads(config.read_text()) for config in later):
            raise ConfigError(
                f"arm {name!r}: no later step has {stage.hands_to!r}",
                expected="hands_to: a key of the training's config that takes weights",
                path=train,
            )


def mapping_of(given: Any, keys: Sequence[str], where: str) -> dict[str, Any]:
    """Return a mapping of a YAML file, empty if it is None.

    Args:
        given: content of the file.
        keys: the keys that it may have.
        where: its place in the file, for the error.

    Raises:
        ConfigError: If it has other keys.
    """
    described = dict(given or {})
    unknown = set(described) - set(keys)
    if unknown:
        raise ConfigError(f"{where} has {sorted(unknown)}", expected=", ".join(keys))
    return described


def _files(names: Sequence[str], arm: str) -> tuple[Path, ...]:
    return tuple(_existing(Path(name), arm) for name in names)


def _existing(file: Path, arm: str) -> Path:
    if not file.is_file():
        raise ConfigError("no such file", expected=f"a file of arm {arm!r}", path=file)
    return file.resolve()
