"""Out-of-distribution check: scans and masks that are unlike those of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.geometry_statistics import (
    size_differences,
    size_in_plane,
    size_in_ras,
)
from monai_semiseg.errors import ConfigError, ModalityError
from monai_semiseg.export.sizes import LabelSizes, size_kind
from monai_semiseg.images.grid import Unit, unit_of
from monai_semiseg.images.volume import spatial_dims_of

ON_FLAG = ("keep", "skip", "fail")


@dataclass(frozen=True)
class TrainingDomain:
    """Properties of the training scans, and the treatment of scans and masks that differ.

    Attributes:
        training: ``extent``, ``spacing``, ``unit``, ``modality`` and ``volume_ml`` (of 2-D images
            ``area``, in the unit squared), as a plan has them under ``training_scans``; missing
            ones are not compared, and a missing unit is mm.
        any_modality: flag a scan of another modality instead of refusing it.
        on_flag: ``keep``: write flagged masks; ``skip``: write none; ``fail``: count the case as
            failed.

    Raises:
        ConfigError: If ``on_flag`` is something else.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    any_modality: bool = False
    on_flag: str = "keep"

    def __post_init__(self) -> None:
        if self.on_flag not in ON_FLAG:
            raise ConfigError(f"on_flag {self.on_flag!r}", expected=", ".join(ON_FLAG))

    @property
    def unit(self) -> Unit:
        """Return the unit of the training scans."""
        return unit_of(self.training)

    def scan_flags(
        self,
        shape: Sequence[int],
        affine: NDArray[np.float64],
        modality: str,
        path: str | Path,
        unit: Unit = "mm",
    ) -> dict[str, str]:
        """Compare a scan with the training scans, before anything is computed.

        Args:
            shape: voxels.
            affine: 4x4, voxel to mm in RAS, or to pixels.
            modality: DICOM's code; empty if the file has none.
            path: of the scan.
            unit: ``px`` if nobody knows the size of a pixel.

        Returns:
            A description per flag: ``field_of_view``, ``voxel_size``, ``modality``.

        Raises:
            ModalityError: If it is of another modality, unless any is allowed.
        """
        if not self.any_modality:
            require_modality(modality, self.training, path)
        known = self.unit
        if unit == known:
            flags = size_differences(self._size(shape, affine), self.training, unit)
        elif "extent" in self.training:
            flags = {"voxel_size": f"sizes in {unit}, theirs in {known}: they cannot be compared"}
        else:
            flags = {}
        if other_modality(modality, self.training):
            flags["modality"] = f"modality {modality}, theirs {self.training['modality']}"
        return flags

    def _size(self, shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return extent and spacing along as many axes as the training images have."""
        ranges = self.training.get("extent") or self.training.get("spacing") or [[0.0] * 3]
        in_plane = len(ranges[0]) == 2 and spatial_dims_of(shape) == 2
        return size_in_plane(shape, affine) if in_plane else size_in_ras(shape, affine)

    def mask_flags(self, sizes: LabelSizes, factor: float = 3.0) -> dict[str, str]:
        """Compare a mask with the training labels.

        Args:
            sizes: of the labels; they are compared with ranges in the same unit.
            factor: largest ratio to the training labels' range of sizes that is not flagged.

        Returns:
            A description per flag: ``empty_mask`` if no voxel is labelled, unless training scans
            had empty masks as well; else ``label_volume``.
        """
        kind = sizes.kind
        is_comparable = kind in (size_kind(dims, self.unit) for dims in (2, 3))
        known: Mapping[str, Sequence[float]] = {}
        if is_comparable:
            known = self.training.get(kind.key) or {}
        if not any(sizes.values()):
            may_be_empty = bool(known) and all(low == 0 for low, _ in known.values())
            return {} if may_be_empty else {"empty_mask": "no voxel is labelled"}
        found = []
        for name, (low, high) in known.items():
            if name in sizes and not low / factor <= sizes[name] <= high * factor:
                here = f"{name} {kind.text(sizes[name])}"
                found.append(f"{here}, the training labels' {kind.span(low, high)}")
        return {"label_volume": "; ".join(found)} if found else {}


def other_modality(found: str, training: Mapping[str, Any]) -> bool:
    """Return True if a scan is of another modality than the training; NIfTI files have none."""
    known = training.get("modality")
    return bool(known and found) and found.upper() != str(known).upper()


def require_modality(found: str, training: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a scan of another modality than the training scans.

    Raises:
        ModalityError: If both are known and differ.
    """
    if other_modality(found, training):
        raise ModalityError(
            f"modality {found}",
            expected=f"{training['modality']}, as the scans that the network was trained on",
            remedy="use weights for this modality, or pass --any_modality",
            path=path,
        )
