"""Masks of a model as tasks for a labeller: image and mask, in the kind that a program reads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.case_names import file_names
from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_values import MAX_VALUE, ignore_value
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.label_description import (
    ITKSNAP_LABELS,
    LABELMAP,
    write_itksnap_labels,
    write_labelmap,
)
from monai_semiseg.export.report import CaseResult
from monai_semiseg.images.dicom_header import read_header
from monai_semiseg.images.formats import detect_format
from monai_semiseg.images.grid import Grid, onto_grid, unit_of
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.inference.outputs import CaseOutputs, Segmented
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.labelling.slices import slice_order
from monai_semiseg.labelling.staging import StagedImage, stage
from monai_semiseg.labelling.target import require_labels
from monai_semiseg.labelling.tasks import (
    MANIFEST,
    PROPOSALS,
    Task,
    TaskFolder,
    hash_of_voxels,
)
from monai_semiseg.plain_text import as_json, printable
from monai_semiseg.storage.files import sha256_of, write_atomically

FORMATS = {"seg.nrrd": "seg_nrrd", "nifti": "nifti", "dicom_seg": "dicom_seg", "png": "png"}
SCANS = ".scans"  # links that the folder run reads; removed at the end
_REQUEST = "request.json"


@dataclass
class Proposal:
    """A folder of tasks that is being made.

    Attributes:
        folder: the folder.
        dataset: cases are from it; its labels say which number is ``ignore``.
        images: of the chosen cases.
        format: a key of :data:`FORMATS`.
        most: number of cases to hand out, those whose correction teaches most; None for all.
        layout: options by which the dataset was opened.
        remarks: id -> what the writers had to say.
        failed: id or file -> reason.
    """

    folder: Path
    dataset: ScanDataset
    images: Sequence[StagedImage]
    format: str = "seg.nrrd"
    most: int | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def scans(self) -> Path:
        """Return the folder with the scans to segment."""
        return self.folder / SCANS

    @property
    def masks(self) -> Path:
        """Return the folder of the folder run."""
        return self.folder / PROPOSALS


def begin(
    folder: Path,
    dataset: ScanDataset,
    cases: Sequence[DatasetCase],
    *,
    format: str = "seg.nrrd",
    most: int | None = None,
    layout: Mapping[str, Any] | None = None,
) -> Proposal:
    """Lay out the scans that a folder run is to segment.

    The same request goes on where it was killed.

    Args:
        folder: folder of tasks to make.
        dataset: the dataset.
        cases: cases to segment.
        format: a key of :data:`FORMATS`.
        most: as for :class:`Proposal`.
        layout: likewise.

    Raises:
        ConfigError: If the folder holds tasks or another request, or lies inside the dataset.
    """
    if (folder / MANIFEST).exists():
        raise ConfigError(
            "holds tasks that were handed out", expected="a new folder", path=folder / MANIFEST
        )
    if not cases:
        raise ConfigError("no case to propose a mask for", expected="cases", path=dataset.root)
    request = {
        "dataset": str(dataset.root.resolve()),
        "cases": [case.id for case in cases],
        "format": format,
        "most": most,
    }
    text = as_json(request) + "\n"
    file = folder / _REQUEST
    if file.is_file() and file.read_text(encoding="utf-8", errors="replace") != text:
        raise ConfigError(
            "another request was begun here",
            expected="the same command, to go on with it",
            remedy="choose another folder",
            path=file,
        )
    _require_new(folder, dataset.root, begun=file.is_file())
    write_atomically(file, text)
    names = file_names(case.id for case in cases)
    images = [stage(dataset, case, names[case.id]) for case in cases]
    for image in images:
        image.link(folder / SCANS)
    return Proposal(folder, dataset, images, format, most, dict(layout or {}))


def _require_new(folder: Path, dataset: Path, *, begun: bool) -> None:
    """Require a new folder, outside of the dataset; or one that was begun."""
    if folder.resolve().is_relative_to(dataset.resolve()):
        raise ConfigError("lies inside the dataset", expected="a folder elsewhere", path=folder)
    files = folder.iterdir() if folder.exists() else ()
    if not begun and any(not file.name.startswith(".") for file in files):
        raise ConfigError("is not empty", expected="a new folder", path=folder)


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
    for result in _by_doubt(runner.results)[: proposal.most]:
        image = by_name[Path(result.output).parts[0]]
        task, order = _task(proposal, image, result, outputs)
        tasks.append(task)
        orders[task.id] = order
    proposal.failed |= _failures(runner.results, proposal)
    if any(task.mask.endswith((".nii.gz", ".nii")) for task in tasks):
        write_itksnap_labels(folder / ITKSNAP_LABELS, names)
    if any(task.mask.endswith(".png") for task in tasks):
        write_labelmap(folder / LABELMAP, names)
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
    found.save(orders)
    shutil.rmtree(proposal.scans, ignore_errors=True)
    (folder / _REQUEST).unlink(missing_ok=True)
    return found


def uncertainty_of(result: CaseResult) -> float | None:
    """Return the mean uncertainty over the labels of a mask; None if it was not computed."""
    found = [
        measures["mean_uncertainty"]
        for measures in result.measures.values()
        if "mean_uncertainty" in measures
    ]
    return float(np.mean(found)) if found else None


def _by_doubt(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the results with a mask, flagged ones first, then the most uncertain."""
    done = [result for result in results if result.status == "done"]
    return sorted(done, key=lambda one: (not one.flags, -(uncertainty_of(one) or 0.0), one.output))


def _failures(results: Sequence[CaseResult], proposal: Proposal) -> dict[str, str]:
    """Return id -> reason of the cases without a mask."""
    of_files = {
        printable(str(proposal.scans / place)): image.case.id
        for image in proposal.images
        for part in image.parts
        for file in part.values()
        for place in (file, file.parent)
    }
    return {
        of_files.get(result.input, result.input): result.reason
        for result in results
        if result.status != "done"
    }


def _task(
    proposal: Proposal, image: StagedImage, result: CaseResult, outputs: CaseOutputs
) -> tuple[Task, str]:
    """Write image and mask of one case; return its task and how its slices are counted."""
    copies = image.copy(proposal.folder)
    dataset = proposal.dataset
    reader = ScanReader(channels=dataset.channel_names, stack_pages=dataset.stack_pages)
    voxels, meta = reader.get_data(copies)
    affine = np.asarray(meta["original_affine"], dtype=np.float64)
    grid = Grid(tuple(voxels.shape[:3]), affine, unit_of(meta))
    found = read_label(proposal.masks / result.output)
    mask = onto_grid(found.array, found.grid, grid, proposal.masks / result.output)
    case = Case(
        f"{image.name}/{image.name}",
        tuple(copies),
        copies[0],
        detect_format(copies[0]),
    )
    kept = Segmented(mask, affine, meta=meta, flags=result.flags)
    path, remarks = outputs.write(case, kept)
    if notes := [remark for remark in remarks if "coded as" not in remark]:
        proposal.remarks[image.case.id] = "; ".join(notes)
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
    return next(value for value in range(255, MAX_VALUE + 1) if value not in names)
