"""Transforms of grids after loading: a label onto its image, and 2-D images out of one slice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_semiseg.errors import DimensionError
from monai_semiseg.images.grid import Grid, onto_grid
from monai_semiseg.images.volume import PARTIAL_FORMAT, spatial_dims_of


class LabelOnImageGridd(MapTransform):
    """Reorder a label to the grid of its image by the affines, or refuse it.

    The rule is that of :func:`~monai_semiseg.images.grid.axes_onto`: axes may have another order or
    direction, and nothing else may differ. Afterwards label and image have one shape and one
    affine, so that all further transforms treat them equally. Use it directly after loading, when
    the affines are still those of the files.

    Args:
        keys: label maps ``(channels, i, j, k)`` with metadata.
        image_key: image ``(channels, i, j, k)`` with metadata.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its labels on the image's grid.

        Raises:
            GeometryError: If a label does not lie on the image's voxels.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = on_image_grid(item[key], item[self.image_key])
        return item


def on_image_grid(label: MetaTensor, image: MetaTensor) -> MetaTensor:
    """Return a label ``(channels, i, j, k)`` in the voxel order and with the affine of an image.

    Raises:
        GeometryError: If it does not lie on the image's voxels; the label's file is named.
    """
    path = label.meta.get("filename_or_obj")
    voxels = np.moveaxis(label.as_tensor().cpu().numpy(), 0, -1)
    ordered = np.moveaxis(onto_grid(voxels, _grid(label), _grid(image), path), -1, 0)
    meta = {
        **label.meta,
        "affine": image.affine.clone(),
        "original_affine": np.asarray(image.affine.cpu()),
        "spatial_shape": np.asarray(image.shape[1:]),
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(ordered)).to(label.device), meta=meta)


def _grid(item: MetaTensor) -> Grid:
    affine = np.asarray(item.affine.cpu(), dtype=np.float64)
    partial = item.meta.get("format") == PARTIAL_FORMAT
    return Grid(tuple(item.shape[1:]), affine, item.meta.get("unit", "mm"), partial)


class DropSliceAxisd(MapTransform):
    """Turn a scan of one slice into a 2-D image for a 2-D network; refuse what does not fit.

    Use it directly after ``Orientationd``, so that images of one plane have the same axes. The
    image's affine is then that of its two axes alone, in mm or pixels, and ``plane`` in its
    metadata leads back to the file's space, for
    :class:`~monai_semiseg.transforms.restore.LabelOnScanGridd`.

    Args:
        keys: images ``(channels, i, j, k)`` with metadata.
        spatial_dims: spatial dimensions of the network.
        slices: whether a 2-D network also gets 3-D scans, slice by slice; they are left as they
            are.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_dims: int,
        slices: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spatial_dims = spatial_dims
        self.slices = slices

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with images ``(channels, a, b)`` where a slice was alone.

        Raises:
            DimensionError: If a 3-D network gets one slice, or a 2-D network a 3-D scan without
                ``slices``.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            dims = spatial_dims_of(item[key].shape[1:])
            if dims == 2 and self.spatial_dims == 2:
                item[key] = _plane_image(item[key])
            elif dims != self.spatial_dims and not (dims == 3 and self.slices):
                raise self._error(item[key])
        return item

    def _error(self, image: MetaTensor) -> DimensionError:
        size = "x".join(map(str, image.shape[1:]))
        path = image.meta.get("filename_or_obj")
        if self.spatial_dims == 3:
            return DimensionError(
                f"one slice ({size}): a 2-D image",
                expected="a 3-D scan, as the network expects",
                remedy="use 2-D weights or --spatial_dims 2, or stack a patient's slices into one "
                "volume",
                path=path,
            )
        return DimensionError(
            f"a 3-D scan ({size})",
            expected="a 2-D image, as the network expects",
            remedy="use weights for 3-D scans, or --set slices=true to segment slice by slice",
            path=path,
        )


def _plane_image(image: MetaTensor) -> MetaTensor:
    """Return ``(channels, a, b)`` of an image with one voxel along one axis."""
    alone = next(axis for axis, size in enumerate(image.shape[1:]) if size == 1)
    kept = [axis for axis in range(3) if axis != alone]
    affine = np.asarray(image.affine.cpu(), dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, kept], axis=0)
    plane = np.eye(4)
    plane[:3, :2] = affine[:3, kept] / spacing
    plane[:3, 2] = affine[:3, alone]
    plane[:3, 3] = affine[:3, 3]
    meta = {**image.meta, "affine": torch.diag(torch.tensor([*spacing, 1.0])), "plane": plane}
    return MetaTensor(image.as_tensor().squeeze(alone + 1), meta=meta)


def grid_in_space(image: MetaTensor) -> np.ndarray[Any, Any]:
    """Return the 4x4 affine, voxel to the file's space, of an image that may have been a slice.

    The third axis of an image ``(channels, a, b)`` of :class:`DropSliceAxisd` has one voxel.
    """
    affine = np.asarray(image.affine.cpu(), dtype=np.float64)
    if "plane" not in image.meta:
        return affine
    in_plane = np.eye(4)
    in_plane[:2, :2] = affine[:2, :2]
    in_plane[:2, 3] = affine[:2, -1]
    return np.asarray(np.asarray(image.meta["plane"]) @ in_plane, dtype=np.float64)
