"""Transform that reorders a label to the grid of its image, after loading."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_semiseg.images.grid import Grid, onto_grid
from monai_semiseg.images.volume import PARTIAL_FORMAT


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
    return Grid(tuple(item.shape[1:]), affine, item.meta.get("format") == PARTIAL_FORMAT)
