"""Tasks of a folder run: image and mask of each case, in the kind that a program reads."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.label_values import MAX_VALUE, ignore_value
from monai_semiseg.export.label_description import (
    ITKSNAP_LABELS,
    LABELMAP,
    write_itksnap_labels,
    write_labelmap,
)
from monai_semiseg.export.report import CaseResult, move_inputs
from monai_semiseg.images.dicom_header import read_header
from monai_semiseg.images.formats import detect_format
from monai_semiseg.images.grid import Grid
from monai_semiseg.inference.outputs import CaseOutputs
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.labelling.proposal import REQUEST, Proposal
from monai_semiseg.labelling.slices import slice_order
from monai_semiseg.labelling.staging import StagedImage
from monai_semiseg.labelling.target import require_labels
from monai_semiseg.labelling.task_formats import FORMATS
from monai_semiseg.labelling.task_masks import onto_image, read_copies, write_task_mask
from monai_semiseg.labelling.tasks import PROPOSALS, Task, TaskFolder, hash_of_voxels
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import sha256_of


def hand_out(proposal: Proposal, runner: BatchRunner) -> TaskFolder:
    """Write the tasks of a folder run that has ended: for each case its image and its mask.

    Flagged cases come first, then those whose labels the network doubts most: the mean entropy of
    the classes' probabilities over the voxels of the labels.

    Args:
        proposal: as :func:`begin` made it.
        runner: segmented its scans.

    Raises:
        ConfigError: If the model has other labels than the dataset.
    """
    folder = proposal.folder
    by_name = {image.name: image for image in proposal.images}
    require_labels(proposal.dataset.labels, runner.names, proposal.dataset.root)
    ignore = _ignore_number(proposal.dataset, runner.names)
    names = {**runner.names, ignore: "ignore"}
    kinds = [FORMATS[proposal.format]]
    codes = runner.outputs.codes
    outputs = CaseOutputs(folder, names, kinds, codes, preview=False, model=runner.outputs.model)
    tasks = []
    orders = {}
    for result in by_doubt(runner.results)[: proposal.most]:
        image = by_name[Path(result.output).parts[0]]
        task, order = _task(proposal, image, result, outputs)
        tasks.append(task)
        orders[task.id] = order
    proposal.failed |= _failures(runner.results, proposal)
    _describe_labels(folder, tasks, names)
    about = {"format": proposal.format, "weights_sha256": outputs.model, **runner.about}
    found = TaskFolder(
        folder,
        proposal.dataset.root,
        proposal.layout,
        runner.names,
        ignore,
        tasks,
        about,
    )
    move_inputs(proposal.masks, [".."])  # the copies are where the links were
    found.save(orders)
    shutil.rmtree(proposal.scans, ignore_errors=True)
    (folder / REQUEST).unlink(missing_ok=True)
    return found


def _describe_labels(folder: Path, tasks: Sequence[Task], names: Mapping[int, str]) -> None:
    """Write names and colours for the programs whose masks hold numbers alone."""
    if any(task.mask.endswith(".nii.gz") for task in tasks):
        write_itksnap_labels(folder / ITKSNAP_LABELS, names)
    if any(task.mask.endswith(".png") for task in tasks):
        write_labelmap(folder / LABELMAP, names)


def uncertainty_of(result: CaseResult) -> float | None:
    """Return the mean uncertainty over the labels of a mask; None if it was not computed."""
    found = [
        measures["mean_uncertainty"]
        for measures in result.measures.values()
        if "mean_uncertainty" in measures
    ]
    return float(np.mean(found)) if found else None


def by_doubt(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the results with a mask, those first whose correction teaches most.

    Flagged masks come before all others, then uncertain ones before certain ones.
    """
    done = [result for result in results if result.status == "done"]
    return sorted(done, key=lambda one: (not one.flags, -(uncertainty_of(one) or 0.0), one.output))


def _failures(results: Sequence[CaseResult], proposal: Proposal) -> dict[str, str]:
    """Return id -> reason of the cases without a mask; a header's voxels are no case."""
    names = {Path(result.output).parts[0] for result in results if result.status == "done"}
    done = {image.case.id for image in proposal.images if image.name in names}
    of_files = {
        printable(str(proposal.scans / place)): image.case.id
        for image in proposal.images
        for part in image.parts
        for file in part.values()
        for place in (file, file.parent)
    }
    found = {
        of_files.get(result.input, result.input): result.reason
        for result in results
        if result.status != "done"
    }
    return {case: reason for case, reason in found.items() if case not in done}


def _task(
    proposal: Proposal, image: StagedImage, result: CaseResult, outputs: CaseOutputs
) -> tuple[Task, str]:
    """Write image and mask of one case; return its task and how its slices are counted."""
    dataset = proposal.dataset
    copies = image.copy(proposal.folder)
    found = read_copies(copies, dataset.channel_names, stack_pages=dataset.stack_pages)
    mask = onto_image(proposal.masks / result.output, found)
    path, remarks = write_task_mask(outputs, image.name, found, mask, result.flags)
    if notes := [remark for remark in remarks if "coded as" not in remark]:
        proposal.remarks[image.case.id] = "; ".join(notes)
    grid = found.grid
    return _described(proposal, image, result, copies, path, grid, mask), slice_order(grid)


def _described(
    proposal: Proposal,
    image: StagedImage,
    result: CaseResult,
    copies: Sequence[Path],
    path: Path,
    grid: Grid,
    mask: NDArray[Any],
) -> Task:
    files = image.case.entry()["image"]
    header = read_header(copies[0]) if detect_format(copies[0]) == "dicom" else None
    return Task(
        id=image.case.id,
        name=image.name,
        image=files,
        images={_below(copy, proposal.folder): sha256_of(copy) for copy in copies},
        mask=_below(path, proposal.folder),
        proposal=f"{PROPOSALS}/{result.output}",
        voxels=hash_of_voxels(mask),
        shape=[int(n) for n in grid.shape],
        affine=grid.affine.tolist(),
        unit=grid.unit,
        series_uid=header.series_uid if header is not None else "",
        flags=list(result.flags),
        uncertainty=uncertainty_of(result),
    )


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _ignore_number(dataset: ScanDataset, names: Mapping[int, str]) -> int:
    """Return the number for voxels that nobody has looked at: the dataset's own, or a free one."""
    declared = ignore_value(dataset.labels)
    if declared is not None and declared not in names:
        return declared
    numbers = itertools.chain(range(255, 0, -1), range(256, MAX_VALUE + 1))  # 8 bits first
    return next(value for value in numbers if value not in names)
