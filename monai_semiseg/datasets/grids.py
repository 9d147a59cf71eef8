"""Search for labels that are not on the grid of their image, by the headers alone."""

from __future__ import annotations

from dataclasses import replace

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.errors import InputError
from monai_semiseg.images.grid import axes_onto
from monai_semiseg.images.scan import read_grid


def without_grid_mismatches(dataset: ScanDataset) -> tuple[ScanDataset, dict[str, str]]:
    """Leave out cases that no training can use: no scan, one slice, a label on another grid.

    Voxels are not read, so that this is quick; ``monai-semiseg check`` reads them.

    Returns:
        The dataset of the other cases, and the reason for every case that was left out, and every
        file that is none.
    """
    faults = {case.id: _fault(case, dataset) for case in dataset.cases}
    left_out = {case_id: error.reason for case_id, error in faults.items() if error is not None}
    kept = [case for case in dataset.cases if case.id not in left_out]
    return replace(dataset, cases=kept), dataset.problems | left_out


def _fault(case: DatasetCase, dataset: ScanDataset) -> InputError | None:
    try:
        image = read_grid(dataset.root / case.image)
        if case.label is not None:
            path = dataset.root / case.label
            axes_onto(read_grid(path), image, path)
    except InputError as error:
        return error
    return None
