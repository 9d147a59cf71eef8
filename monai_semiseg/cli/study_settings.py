"""Settings of a study, from the command line and a YAML file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.cli.arguments import number_or_text
from monai_semiseg.cli.dataset_arguments import DATASET_ARGUMENTS
from monai_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from monai_semiseg.datasets.dataset import ScanDataset
    from monai_semiseg.study.grid import Grid


def grid_of(args: argparse.Namespace, asked: dict[str, Any], dataset: ScanDataset) -> Grid:
    """Return the grid that the settings of :func:`settings_of_study` ask for.

    Raises:
        ConfigError: If it cannot be.
    """
    from monai_semiseg.bundles.locate import bundle_folder
    from monai_semiseg.study.arm_keys import refuse_unknown_settings
    from monai_semiseg.study.arms import arms_from, arms_of_file
    from monai_semiseg.study.grid import Rates, make_grid, whole

    bundle = bundle_folder(args.bundle)
    arms = (
        arms_from(_items(asked["methods"]), _items(asked["initialisations"]), bundle)
        if asked["methods"]
        else []
    )
    arms += arms_of_file(asked["arms"], bundle)
    refuse_unknown_settings(arms)
    selections = _selections(asked)
    grid = make_grid(
        dataset,
        args.output,
        arms,
        labelled=_items(asked["labelled"]),
        splits=_items(asked["splits"]),
        seeds=_items(asked["seeds"]),
        test=number_or_text(str(asked["test"])),
        iterations=whole(asked["budget"]),
        validation=number_or_text(str(asked["validation"])),
        rates=Rates(_rates(asked["learning_rates"]), whole(asked["folds"])),
        gates=_flag(asked["gates"]),
        also=_further(asked["also"]),
        selections=selections,
    )
    if asked["next"] is not None:
        grid = replace(grid, more=whole(asked["next"]))
    if not selections:
        return grid
    from monai_semiseg.labelling.study_selections import with_selected

    return with_selected(grid, dataset)


def _selections(asked: dict[str, Any]) -> list[str]:
    """Return the names of the selections that take the place of splits; none by default."""
    from monai_semiseg.study.grid import whole
    from monai_semiseg.study.selections import selection_names

    strategies = _items(asked["selections"])
    if not strategies:
        return []
    from monai_semiseg.labelling.study_selections import check_strategies

    check_strategies(strategies)
    return selection_names(strategies, whole(asked["draws"]))


def settings_of_study(args: argparse.Namespace) -> dict[str, Any]:
    """Return the defaults, the YAML over them, and the command line over both.

    What a YAML says about the layout of the dataset and its label files goes into ``args``.

    Raises:
        ConfigError: If the YAML is not there or has other keys.
    """
    asked: dict[str, Any] = {
        "methods": "",
        "initialisations": "random",
        "labelled": "",
        "splits": "0,1,2",
        "selections": "",
        "draws": 10,
        "seeds": "0",
        "test": 0.2,
        "validation": "auto",
        "budget": 1500,
        "learning_rates": "",
        "folds": 3,
        "gates": False,
        "arms": {},
        "also": [],
        "next": None,
    }
    if args.config is not None:
        asked.update(_settings_of_file(args, list(asked)))
    asked.update({key: value for key in asked if (value := getattr(args, key, None)) is not None})
    return asked


def _settings_of_file(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the study's settings of the YAML; those of the dataset go into ``args``."""
    import yaml

    if not args.config.is_file():
        raise ConfigError(
            "no such file", expected="a YAML with the study's settings", path=args.config
        )
    content = yaml.safe_load(args.config.read_text())
    known = [*names, *DATASET_ARGUMENTS]
    unknown = set(content) - set(known) if isinstance(content, dict) else {"no mapping"}
    if unknown:
        raise ConfigError(
            f"unknown settings {sorted(unknown)}", expected=", ".join(known), path=args.config
        )
    for key in set(content) & set(DATASET_ARGUMENTS):
        if getattr(args, key) in (None, False):
            setattr(args, key, Path(content[key]) if key == "table" else content[key])
    return {key: value for key, value in content.items() if key in names}


def _further(given: Any) -> list[dict[str, list[str]]]:
    if not isinstance(given, list) or not all(isinstance(more, dict) for more in given):
        raise ConfigError(f"also: {given!r}", expected="a list of {arms, labelled, splits, seeds}")
    return [{key: _items(value) for key, value in more.items()} for more in given]


def _items(value: Any) -> list[str]:
    """``a,b`` or a YAML list as strings."""
    parts = (
        value.split(",")
        if isinstance(value, str)
        else value
        if isinstance(value, list)
        else [value]
    )
    return [str(part).strip() for part in parts if str(part).strip()]


def _rates(value: Any) -> tuple[float, ...]:
    try:
        return tuple(float(item) for item in _items(value))
    except ValueError as error:
        raise ConfigError(f"learning_rates {value!r}", expected="numbers") from error


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"gates: {value!r}", expected="true or false")
    return value
