"""Search for labels that are not on the grid of their image, by the headers alone."""

from __future__ import annotations

from dataclasses import replace

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.kinds import common_dims
from monai_semiseg.datasets.label_files import read_label_grid
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.errors import InputError
from monai_semiseg.images.grid import axes_onto


def without_grid_mismatches(dataset: ScanDataset) -> tuple[ScanDataset, dict[str, str]]:
    """Leave out cases that no training can use: no scan, a label on another grid.

    Voxels are not read, so that this is quick; ``monai-semiseg check`` reads them.

    Returns:
        The dataset of the other cases, and the reason for every case that was left out, and every
        file that is none.

    Raises:
        DimensionError: If some images have one slice and others several.
    """
    left_out = dict(dataset.problems)
    kept = []
    shapes = {}
    for case in dataset.cases:
        try:
            shapes[case.id] = _shape(case, dataset)
            kept.append(case)
        except InputError as error:
            left_out[case.id] = error.reason
    dims = common_dims(shapes, dataset.root)
    return replace(dataset, cases=kept, spatial_dims=dims), left_out


def _shape(case: DatasetCase, dataset: ScanDataset) -> tuple[int, ...]:
    """Return the voxels of an image along its axes; its label lies on them.

    Raises:
        InputError: If image or label cannot be read, or the label lies elsewhere.
    """
    image = dataset.read_grid(case)
    for path in label_paths(dataset.root, case.label or ()):
        axes_onto(read_label_grid(path, dataset.label_rule), image, path)
    return image.shape
