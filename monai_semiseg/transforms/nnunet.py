"""Transforms that do to an image what nnU-Net does, by nnU-Net's own code.

A model of nnU-Net needs nnU-Net's package for its network in any case. Its cropping, resampling
(order 3, and slice by slice where slices are thick) and normalisation within the crop have no
equals in MONAI, and masks have to agree: so its functions are called, not rewritten.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray

from monai_semiseg.datasets.label_values import class_lookup
from monai_semiseg.datasets.nnunet_dataset import NnunetDataset
from monai_semiseg.datasets.nnunet_files import nnunet_module
from monai_semiseg.datasets.nnunet_plans import NnunetPlans
from monai_semiseg.errors import InputError
from monai_semiseg.images.grid import Grid, onto_grid, unit_of
from monai_semiseg.transforms.restore import normalised_entropy

_PIXEL = (999.0, 1.0, 1.0)  # nnU-Net's spacing of pictures
_PROPERTIES = "nnunet"  # of a case, in the metadata


class NnunetPreprocessd(MapTransform):
    """Crop, normalise and resample images as a configuration of nnU-Net's plans says.

    Use it directly after loading, with axes ``(channels, i, j, k)`` as in the file; after
    ``Orientationd`` to RAS if the plans read images so. The result has nnU-Net's axes, as a rule
    ``(channels, z, y, x)``, with one voxel along z for pictures. The metadata stay those of the
    file, for :class:`NnunetLabeld`.

    Args:
        keys: images with metadata.
        plans: content of the plans file.
        configuration: its name in them.
        label_key: a label map that is resampled with the image; None without.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        plans: Mapping[str, Any],
        configuration: str,
        label_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.plans = NnunetPlans(plans, configuration)
        self.label_key = label_key
        self.identity = f"{plans.get('plans_name')}:{configuration}"

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each image, float32, and the label.

        Raises:
            InputError: If an image holds nothing but zeros.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key]
            label = item.get(self.label_key) if self.label_key else None
            voxels, classes, properties = self._preprocessed(image, label)
            meta = {**image.meta, _PROPERTIES: properties}
            item[key] = MetaTensor(torch.from_numpy(voxels), meta=meta)
            if label is not None:
                item[self.label_key] = MetaTensor(torch.from_numpy(classes), meta=dict(label.meta))
        return item

    def _preprocessed(
        self, image: MetaTensor, label: MetaTensor | None
    ) -> tuple[NDArray[np.float32], NDArray[Any], dict[str, Any]]:
        voxels = _in_order(image).astype(np.float32)
        if not voxels.any():
            raise InputError(
                "holds nothing but zeros",
                expected="an image that nnU-Net can crop to what is not zero",
                path=image.meta.get("filename_or_obj"),
            )
        properties = {"spacing": list(_spacing(image))}
        settings = self.plans.settings
        preprocessor = settings.preprocessor_class(verbose=False)
        data, seg, properties = preprocessor.run_case_npy(
            voxels,
            None if label is None else _in_order(label).astype(np.int16),
            properties,
            self.plans.manager,
            settings,
            # Foreground is looked up for nnU-Net's own sampler, which is not used.
            {"labels": {"background": 0, "foreground": 1}},
        )
        seg = np.maximum(seg, 0)  # -1 is nnU-Net's mark for "outside", which is background
        return np.ascontiguousarray(data, dtype=np.float32), np.ascontiguousarray(seg), properties


class NnunetLabeld(MapTransform):
    """Turn a network's output into a label map on the scan's grid, as nnU-Net does.

    Args:
        keys: logits ``(classes, z, y, x)`` of images of :class:`NnunetPreprocessd`.
        plans: content of the plans file.
        configuration: its name in them.
        dataset: ``labels`` and, for regions, ``regions_class_order``, as in ``dataset.json``.
        orig_keys: the preprocessed image.
        uncertainty_key: key for the entropy of the probabilities divided by ``ln classes``, 0 to
            1; of regions, the mean of their binary entropies. Or None.
    """

    def __init__(
        self,
        keys: KeysCollection,
        plans: Mapping[str, Any],
        configuration: str,
        dataset: Mapping[str, Any],
        orig_keys: str = "image",
        uncertainty_key: str | None = None,
    ) -> None:
        super().__init__(keys)
        self.plans = NnunetPlans(plans, configuration)
        self.dataset = dict(dataset)
        self.orig_keys = orig_keys
        self.uncertainty_key = uncertainty_key
        order = dataset.get("regions_class_order")
        declared = NnunetDataset((), dataset["labels"], tuple(order) if order else None)
        self.classes = class_lookup([int(number) for number in declared.label_names])
        self.identity = f"{plans.get('plans_name')}:{configuration}"

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by classes ``(1, i, j, k)`` with the scan's affine."""
        item = dict(data)
        image = item[self.orig_keys]
        for key in self.key_iterator(item):
            numbers, probabilities = self._exported(item[key], image.meta[_PROPERTIES])
            item[key] = _on_scan(self.classes[numbers].astype(np.int32), image)
            if self.uncertainty_key is not None and probabilities is not None:
                entropy = self._entropy(torch.from_numpy(probabilities))
                item[self.uncertainty_key] = _on_scan(entropy.numpy(), image)
        return item

    def _exported(
        self, logits: torch.Tensor, properties: Mapping[str, Any]
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        export = nnunet_module("nnunetv2.inference.export_prediction")
        found = export.convert_predicted_logits_to_segmentation_with_correct_shape(
            torch.as_tensor(logits).cpu().half(),  # nnU-Net's sums are in half precision
            self.plans.manager,
            self.plans.settings,
            self.plans.manager.get_label_manager(self.dataset),
            properties,
            return_probabilities=self.uncertainty_key is not None,
            num_threads_torch=torch.get_num_threads(),
        )
        return found if self.uncertainty_key is not None else (found, None)

    def _entropy(self, probabilities: torch.Tensor) -> torch.Tensor:
        if "regions_class_order" not in self.dataset:
            return normalised_entropy(probabilities)
        return normalised_entropy(torch.stack([probabilities, 1 - probabilities])).mean(0)


def _in_order(image: MetaTensor) -> NDArray[Any]:
    """Return voxels ``(channels, k, j, i)``, as SimpleITK and nnU-Net's readers order them."""
    return np.asarray(image.as_tensor().cpu()).transpose(0, 3, 2, 1)


def _spacing(image: MetaTensor) -> tuple[float, ...]:
    """Return the voxel size along k, j, i as nnU-Net's readers give it."""
    if unit_of(image.meta) == "px":
        return _PIXEL
    affine = np.asarray(image.affine, dtype=np.float64)
    return tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0)[::-1])


def _on_scan(voxels: NDArray[Any], image: MetaTensor) -> MetaTensor:
    """Return a map ``(k, j, i)`` as ``(1, i, j, k)`` in the voxel order of the scan's file."""
    native = np.asarray(image.meta["original_affine"], dtype=np.float64)
    oriented = voxels.transpose(2, 1, 0)
    unit = unit_of(image.meta)
    own = Grid(oriented.shape, np.asarray(image.affine, dtype=np.float64), unit)
    scan = Grid(tuple(int(n) for n in image.meta["spatial_shape"]), native, unit)
    ordered = onto_grid(oriented, own, scan, image.meta.get("filename_or_obj"))
    return MetaTensor(
        torch.from_numpy(np.ascontiguousarray(ordered))[None], affine=torch.as_tensor(native)
    )
