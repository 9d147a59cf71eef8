"""Tasks: cases that were handed out for labelling, and what is known of each of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.case_names import stem_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.output_paths import name_of_mask
from monai_semiseg.images.detached import voxel_files
from monai_semiseg.images.formats import files_under
from monai_semiseg.images.grid import Grid, Unit
from monai_semiseg.plain_text import as_json
from monai_semiseg.storage.files import sha256_of, write_atomically
from monai_semiseg.storage.tables import read_rows, write_table

MANIFEST = "tasks.json"
TABLE = "tasks.csv"
PROPOSALS = "proposals"  # the folder run, which nobody edits
_COLUMNS = ("id", "folder", "mask", "flags", "uncertainty", "slice_order")
_FREE_COLUMNS = ("slices", "minutes", "note")  # a labeller may fill them in


@dataclass(frozen=True)
class Task:
    """One case that was handed out.

    Attributes:
        id: of the case in its dataset.
        name: of its folder and files below the folder of tasks.
        image: file, DICOM folder or several files, relative to the dataset's folder.
        images: every file of the image, relative to the folder of tasks -> its SHA-256.
        mask: the mask that is to be corrected, relative to the folder of tasks.
        proposal: the mask of the folder run, which stays as it is, likewise.
        voxels: :func:`hash_of_voxels` of the proposal.
        shape: voxels of the image.
        affine: of the image, rows.
        unit: of lengths.
        series_uid: DICOM series of the image, or empty.
        flags: reasons to check the mask.
        uncertainty: mean over the labels' voxels, 0 to 1; None if it was not computed.
    """

    id: str
    name: str
    image: str | list[str]
    images: Mapping[str, str]
    mask: str
    proposal: str
    voxels: str
    shape: Sequence[int]
    affine: Sequence[Sequence[float]]
    unit: Unit
    series_uid: str = ""
    flags: Sequence[str] = ()
    uncertainty: float | None = None

    @property
    def grid(self) -> Grid:
        """Return the grid of the image."""
        return Grid(tuple(self.shape), np.asarray(self.affine, dtype=np.float64), self.unit)

    @property
    def name_in_run(self) -> str:
        """Return the name of the case in the folder run, by which the page of a review calls it."""
        return name_of_mask(PurePosixPath(self.proposal).relative_to(PROPOSALS).as_posix())

    @property
    def mask_names(self) -> list[str]:
        """Return the names that a list of masks, written by hand, may have for this one."""
        masks = [PurePosixPath(path) for path in (self.mask, self.proposal)]
        return [self.id, self.name] + [
            text for mask in masks for text in (str(mask), mask.name, stem_of(mask.name))
        ]


@dataclass(frozen=True)
class TaskFolder:
    """A folder of tasks.

    Attributes:
        folder: the folder.
        dataset: folder of the dataset that the cases are from.
        layout: options by which the dataset was opened.
        labels: number -> name of the model's labels, background included.
        ignore: number of voxels that nobody has looked at.
        tasks: cases, those first whose correction teaches most.
        about: facts about model and request.
    """

    folder: Path
    dataset: Path
    layout: Mapping[str, Any]
    labels: Mapping[int, str]
    ignore: int
    tasks: Sequence[Task]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> dict[int, str]:
        """Return number -> name of all that a mask may hold: the labels, and ``ignore``."""
        return {**self.labels, self.ignore: "ignore"}

    def save(self, slice_orders: Mapping[str, str]) -> None:
        """Write ``tasks.csv`` for people, then ``tasks.json``, which ends the making of a folder.

        Args:
            slice_orders: id -> how its slices are counted.
        """
        rows = [
            [
                task.id,
                task.name,
                task.mask,
                ";".join(task.flags),
                "" if task.uncertainty is None else f"{task.uncertainty:.4f}",
                slice_orders[task.id],
                *[""] * len(_FREE_COLUMNS),
            ]
            for task in self.tasks
        ]
        write_table(self.folder / TABLE, [*_COLUMNS, *_FREE_COLUMNS], rows, exact=True)
        content = {
            "dataset": str(self.dataset.resolve()),
            "layout": dict(self.layout),
            "labels": {str(value): name for value, name in self.labels.items()},
            "ignore": self.ignore,
            "about": dict(self.about),
            "tasks": [asdict(task) for task in self.tasks],
        }
        write_atomically(self.folder / MANIFEST, as_json(content) + "\n")


def load_tasks(folder: str | Path) -> TaskFolder:
    """Read a folder of tasks.

    Raises:
        ConfigError: If it is none.
    """
    file = Path(folder) / MANIFEST
    if not file.is_file():
        raise ConfigError(
            "no such file",
            expected="a folder of tasks",
            remedy="monai-semiseg propose DATASET --weights F --cases IDS --output TASKS makes one",
            path=file,
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return TaskFolder(
            Path(folder),
            Path(content["dataset"]),
            content["layout"],
            {int(value): str(name) for value, name in content["labels"].items()},
            int(content["ignore"]),
            [Task(**task) for task in content["tasks"]],
            content["about"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"a damaged manifest ({type(error).__name__}: {error})",
            expected="tasks.json as propose wrote it",
            path=file,
        ) from error


def labellers_words(folder: Path, tasks: Sequence[Task]) -> dict[str, dict[str, str]]:
    """Return id -> column -> what a labeller wrote into ``tasks.csv``; empty without the table.

    A row is of the task of its mask, or else of its id: a spreadsheet makes 1 of the id 001.

    Args:
        folder: that may hold the table.
        tasks: what was handed out.

    Raises:
        ConfigError: If the table has no column ``id``, or names slices of no task.
    """
    file = folder / TABLE
    if not file.is_file():
        return {}
    rows, columns = read_rows(file)
    if "id" not in columns:
        raise ConfigError(
            f"the columns {', '.join(columns)}",
            expected=f"a table with the columns id, {', '.join(_FREE_COLUMNS)}",
            path=file,
        )
    of_mask = {task.mask: task.id for task in tasks}
    ids = [of_mask.get(row.get("mask", ""), row.get("id", "")) for row in rows]
    known = {task.id for task in tasks}
    for case, row in zip(ids, rows, strict=True):
        if row.get("slices") and case not in known:
            raise ConfigError(
                f"slices {row['slices']!r} of {case!r}, which was not handed out",
                expected=f"the ids of {MANIFEST}, such as {min(known, default='')!r}",
                remedy="correct the id (a spreadsheet may have made 1 of 001), or remove the row",
                path=file,
            )
    return dict(zip(ids, rows, strict=True))


def hash_of_voxels(mask: NDArray[Any]) -> str:
    """Return the SHA-256 of a mask's shape and label numbers, whatever file held them.

    Args:
        mask: label numbers ``(i, j, k)`` in the order of the image's file.
    """
    digest = hashlib.sha256("x".join(map(str, mask.shape)).encode())
    digest.update(np.ascontiguousarray(mask, dtype="<i4").tobytes())
    return digest.hexdigest()


def files_of_image(paths: Sequence[Path]) -> list[Path]:
    """Return all files of an image: those of a DICOM folder, and voxels beside their header."""
    return [
        file
        for path in paths
        for file in (files_under(path) if path.is_dir() else [path, *voxel_files(path)])
    ]


def hashes_of(files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of files, sorted: their names may change."""
    return sorted(sha256_of(file) for file in files)
