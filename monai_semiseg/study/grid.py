"""What a study runs: arms x label budgets x seeds, checked before any work."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_semiseg.bundles.locate import SUPERVISED, method_overlay
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.split import count_of
from monai_semiseg.errors import ConfigError

REFERENCE = SUPERVISED


@dataclass(frozen=True)
class Stage:
    """A pretraining that a cell runs before its training, on its own split; later steps start from its weights.

    Attributes:
        bundle: bundle folder.
        config: file in its ``configs``.
        overlays: files merged over it.
        settings: overrides of config keys.
        hands_to: config key that is told where its weights are, in all later steps that have this
            key.
    """

    bundle: Path
    config: str = "pretrain.json"
    overlays: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    hands_to: str = "init_weights"


@dataclass(frozen=True)
class Arm:
    """One way to train: a bundle's ``train.json``, overlays merged over it, settings, and where the weights start.

    Attributes:
        name: in tables and folder names.
        bundle: bundle folder.
        overlays: YAML or JSON files, in the order in which they are merged, after the plan.
        settings: overrides of config keys; those that ``evaluate.json`` knows too are applied there
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


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation."""

    arm: Arm
    labelled: int
    seed: int

    @property
    def id(self) -> str:
        """Folder name."""
        return f"{self.arm.name}__{self.labelled}_labelled__seed_{self.seed}"


@dataclass(frozen=True)
class Grid:
    """The whole study.

    Attributes:
        dataset: folder of the dataset.
        output: folder of the study.
        arms: ways to train; the first one named ``supervised`` is what the others are compared
            with.
        labelled: label budgets, as counts.
        seeds: who is labelled, and how a training is seeded.
        full: labelled scans that are not test: the budget that is all labels.
        test: test scans, as ``split`` takes it.
        iterations: optimiser steps of every cell.
        further: cells beside the product of arms, budgets and seeds.
    """

    dataset: Path
    output: Path
    arms: tuple[Arm, ...]
    labelled: tuple[int, ...]
    seeds: tuple[int, ...]
    full: int
    test: float
    iterations: int
    further: tuple[Cell, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """All cells; those of one budget and seed follow each other, so that early results can be compared."""
        return _unique([*_product(self.arms, self.labelled, self.seeds), *self.further])


def _product(arms: Sequence[Arm], labelled: Sequence[int], seeds: Sequence[int]) -> list[Cell]:
    return [Cell(arm, n, seed) for n in labelled for seed in seeds for arm in arms]


def _unique(cells: Sequence[Cell]) -> list[Cell]:
    return list({cell.id: cell for cell in cells}.values())


def arms_from(methods: Sequence[str], initialisations: Sequence[str], bundle: Path) -> list[Arm]:
    """One arm per method and initialisation.

    Args:
        methods: names as in :func:`~monai_semiseg.bundles.locate.methods_of`.
        initialisations: ``random``, or ``NAME=FILE``.
        bundle: bundle folder.

    Raises:
        ConfigError: If a method, a file or the bundle is not there.
    """
    if not (bundle / "configs" / "train.json").is_file():
        raise ConfigError("no configs/train.json", expected="a bundle folder", path=bundle)
    arms = []
    for start in initialisations:
        label, _, file = start.partition("=")
        if (label == "random") is bool(file) or (file and not Path(file).is_file()):
            raise ConfigError(
                f"initialisation {start!r}",
                expected="random, or NAME=FILE with weights that are there",
            )
        for method in methods:
            overlay = method_overlay(bundle, method)
            overlays = () if overlay is None else (overlay,)
            name = f"{method}+{label}" if file else method
            arms.append(Arm(name, bundle, overlays, {}, Path(file).resolve() if file else None))
    return arms


def arms_of_file(content: Mapping[str, Any], bundle: Path) -> list[Arm]:
    """Arms of a study's YAML.

    ``arms: {NAME: {bundle, overlays, evaluate_overlays, settings, initialisation, pretrain}}``.
    Every key is optional; ``pretrain`` is a list of ``{bundle, config, overlays, settings,
    hands_to}``.

    Raises:
        ConfigError: If a key is unknown or a file is not there.
    """
    arms = []
    for name, given in content.items():
        known = (
            "bundle",
            "overlays",
            "evaluate_overlays",
            "settings",
            "initialisation",
            "pretrain",
        )
        here = _described(given, known, f"arm {name!r}")
        stages = tuple(_stage(stage, name) for stage in here.get("pretrain", []))
        root = Path(here.get("bundle", bundle))
        _heard(stages, _there(root / "configs" / "train.json", name), name)
        start = _there(Path(here["initialisation"]), name) if here.get("initialisation") else None
        scoring = _overlays(here, name, "evaluate_overlays")
        arms.append(
            Arm(
                str(name),
                root,
                _overlays(here, name),
                here.get("settings") or {},
                start,
                stages,
                scoring,
            )
        )
    return arms


def _stage(given: Any, name: str) -> Stage:
    here = _described(
        given, ("bundle", "config", "overlays", "settings", "hands_to"), f"arm {name!r}"
    )
    root, config = Path(here.get("bundle", "")), here.get("config", "pretrain.json")
    _there(root / "configs" / config, name)
    return Stage(
        root,
        config,
        _overlays(here, name),
        here.get("settings") or {},
        here.get("hands_to", "init_weights"),
    )


def _heard(stages: Sequence[Stage], train: Path, name: str) -> None:
    """Refuse a stage whose weights no later step would load."""
    for number, stage in enumerate(stages, 1):
        later = [*(other.bundle / "configs" / other.config for other in stages[number:]), train]
        if not any(stage.hands_to in json.loads(config.read_text()) for config in later):
            raise ConfigError(
                f"arm {name!r}: no later step has {stage.hands_to!r}",
                expected="hands_to: a key of the training's config that takes weights",
                path=train,
            )


def _described(given: Any, known: Sequence[str], what: str) -> dict[str, Any]:
    description = dict(given or {})
    if unknown := set(description) - set(known):
        raise ConfigError(f"{what} has {sorted(unknown)}", expected=", ".join(known))
    return description


def _overlays(description: Mapping[str, Any], name: str, key: str = "overlays") -> tuple[Path, ...]:
    return tuple(_there(Path(file), name) for file in description.get(key, []))


def _there(file: Path, name: str) -> Path:
    if not file.is_file():
        raise ConfigError("no such file", expected=f"a file of arm {name!r}", path=file)
    return file.resolve()


def make_grid(
    dataset: ScanDataset,
    output: Path,
    arms: Sequence[Arm],
    *,
    labelled: Sequence[str],
    seeds: Sequence[int | str],
    test: float,
    iterations: int,
    also: Sequence[Mapping[str, Sequence[str]]] = (),
) -> Grid:
    """Check everything that can be checked before the first training, and resolve label budgets to counts.

    Args:
        dataset: the dataset.
        output: folder of the study.
        arms: ways to train.
        labelled: counts, fractions of the scans that are not test, or ``all``.
        seeds: of splits and trainings.
        test: test scans, a count or a fraction.
        iterations: optimiser steps of every cell.
        also: further cells, each entry a product of its ``arms`` (names), ``labelled`` and
            ``seeds``; what it does not name is as above.

    Raises:
        ConfigError: If a budget cannot be met, or names collide or cannot be folders.
    """
    names, numbers = [arm.name for arm in arms], [whole(seed) for seed in seeds]
    for name in names:
        if names.count(name) > 1 or not re.fullmatch(r"[\w.+-]+", name):
            raise ConfigError(
                f"arm name {name!r}", expected="unique names of letters, digits and . _ + -"
            )
    if not arms or not labelled or not seeds or iterations < 1:
        raise ConfigError(
            "an empty study", expected="at least one method, budget, seed and iteration"
        )
    pairs = sum(case.label is not None for case in dataset.cases)
    rest = pairs - count_of(test, pairs, "test")
    counts = _budgets(labelled, rest)
    further = []
    for more in also:
        wanted = _described(more, ("arms", "labelled", "seeds"), "also").get("arms", names)
        if unknown := set(wanted) - set(names):
            raise ConfigError(f"also names {sorted(unknown)}", expected=f"arms: {', '.join(names)}")
        further += _product(
            [arm for arm in arms if arm.name in wanted],
            _budgets(more.get("labelled", labelled), rest),
            [whole(seed) for seed in more.get("seeds", seeds)],
        )
    return Grid(
        dataset.root.resolve(),
        output.resolve(),
        tuple(arms),
        counts,
        tuple(dict.fromkeys(numbers)),
        rest,
        test,
        iterations,
        tuple(further),
    )


def _budgets(labelled: Sequence[str], rest: int) -> tuple[int, ...]:
    """Budgets as counts, of ``rest`` scans that could be labelled."""
    counts = [
        rest if text == "all" else count_of(_number(text), rest, "labelled") for text in labelled
    ]
    if min(counts) < 1:
        raise ConfigError("a budget of no label", expected="--labelled of at least 1 scan")
    return tuple(dict.fromkeys(counts))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"--labelled {text!r}", expected="counts, fractions below 1, or all"
        ) from error


def whole(value: Any) -> int:
    """A whole number that was typed.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{value!r}", expected="a whole number") from error
