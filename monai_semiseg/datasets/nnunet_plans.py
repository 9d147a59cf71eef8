"""Plans of nnU-Net v2: what its ``nnUNetPlans.json`` says about one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.nnunet_files import nnunet_module, read_json, refuse_code
from monai_semiseg.errors import ConfigError

NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
_PREFERRED = ("3d_fullres", "2d")  # where no configuration is named
# What nnU-Net's classes read of a plans file, beside its configurations.
_SHARED = (
    "dataset_name",
    "plans_name",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "foreground_intensity_properties_per_channel",
    "label_manager",
)


@dataclass(frozen=True)
class NnunetPlans:
    """One configuration of nnU-Net's plans.

    Attributes:
        content: the plans with this configuration alone, as JSON has them.
        configuration: its name.
    """

    content: Mapping[str, Any]
    configuration: str

    @cached_property
    def manager(self) -> Any:
        """Return nnU-Net's ``PlansManager``."""
        handler = nnunet_module("nnunetv2.utilities.plans_handling.plans_handler")
        return handler.PlansManager(dict(self.content))

    @cached_property
    def settings(self) -> Any:
        """Return nnU-Net's ``ConfigurationManager``."""
        return self.manager.get_configuration(self.configuration)

    @property
    def architecture(self) -> dict[str, Any]:
        """Return the class and the arguments of the network."""
        return dict(self._settings["architecture"])

    @property
    def patch_size(self) -> list[int]:
        """Return the patch in voxels; its axes are nnU-Net's, as a rule z, y, x."""
        return [int(side) for side in self._settings["patch_size"]]

    @property
    def spacing(self) -> list[float]:
        """Return the voxel size in mm along the same axes."""
        return [float(size) for size in self._settings["spacing"]]

    @property
    def batch_size(self) -> int:
        """Return the number of patches of a training step."""
        return int(self._settings["batch_size"])

    @property
    def spatial_dims(self) -> int:
        """Return the dimensions of the network, 2 or 3."""
        return len(self.patch_size)

    @property
    def in_channels(self) -> int:
        """Return the number of channels: each has its normalisation."""
        return len(self._settings["normalization_schemes"])

    @property
    def is_reoriented(self) -> bool:
        """Return whether nnU-Net turns images to RAS before all else."""
        return str(self.content.get("image_reader_writer", "")).endswith("WithReorient")

    @property
    def _settings(self) -> Mapping[str, Any]:
        settings: Mapping[str, Any] = self.content["configurations"][self.configuration]
        return settings


def split_configuration(text: str | Path) -> tuple[Path, str | None]:
    """Split ``FILE.json:CONFIGURATION``; the configuration is None if there is none."""
    name, colon, configuration = str(text).rpartition(":")
    if colon and name.endswith(".json") and not Path(text).exists():
        return Path(name), configuration
    return Path(text), None


def read_plans(file: str | Path, configuration: str | None = None) -> NnunetPlans:
    """Read one configuration of a plans file.

    Args:
        file: ``nnUNetPlans.json``, or ``plans.json`` of a trained model.
        configuration: such as ``2d``; by default ``3d_fullres``, or ``2d`` if there is none.

    Raises:
        ConfigError: If it is no plans file of nnU-Net v2, lacks the configuration, is a cascade's
            second stage, or its network is none of ``PlainConvUNet`` and ``ResidualEncoderUNet``.
    """
    path = Path(file)
    content = read_json(path, "plans of nnU-Net v2")
    named = content.get("configurations")
    if not isinstance(named, dict) or not named:
        version = "nnU-Net v1" if "plans_per_stage" in content else "no version known here"
        raise ConfigError(
            f"plans of {version}: there is no 'configurations'",
            expected="plans of nnU-Net v2, as nnUNetv2_plan_and_preprocess writes them",
            path=path,
        )
    wanted = configuration or next((name for name in _PREFERRED if name in named), "3d_fullres")
    if wanted not in named:
        raise ConfigError(
            f"no configuration {wanted!r}",
            expected=f"one of {', '.join(sorted(named))}",
            remedy=f"{path.name}:{min(named)}",
            path=path,
        )
    refuse_code(content, path)
    return _one_configuration(content, wanted, path)


def _one_configuration(content: dict[str, Any], name: str, path: Path) -> NnunetPlans:
    """Resolve inheritance and old forms by nnU-Net's own class, and check what it gives."""
    handler = nnunet_module("nnunetv2.utilities.plans_handling.plans_handler")
    try:
        resolved = handler.PlansManager(content).get_configuration(name).configuration
        shared = {key: content[key] for key in _SHARED if key in content}
        plans = NnunetPlans({**shared, "configurations": {name: resolved}}, name)
        _check(plans, resolved, path)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"configuration {name!r} cannot be read ({type(error).__name__}: {error})",
            expected="plans of nnU-Net v2, as nnUNetv2_plan_and_preprocess writes them",
            path=path,
        ) from error
    return plans


def _check(plans: NnunetPlans, resolved: Mapping[str, Any], path: Path) -> None:
    kind = str(plans.architecture["network_class_name"]).rsplit(".", 1)[-1]
    if kind not in NETWORKS:
        raise ConfigError(
            f"configuration {plans.configuration!r} has a {kind}",
            expected=" or ".join(NETWORKS),
            remedy="plan with nnU-Net's default planner, or with nnUNetPlannerResEncM, L or XL",
            path=path,
        )
    if resolved.get("previous_stage") is not None:
        raise ConfigError(
            f"configuration {plans.configuration!r} is the second stage of a cascade",
            expected="a configuration whose input is images only, such as 3d_fullres",
            path=path,
        )
    sizes = (len(plans.patch_size), len(plans.spacing), plans.batch_size, plans.in_channels)
    if sizes[0] != sizes[1] or sizes[0] not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"patch {plans.patch_size}, spacing {plans.spacing}")
    if sorted(plans.content["transpose_forward"]) != [0, 1, 2]:
        raise ValueError(f"transpose_forward {plans.content['transpose_forward']}")
