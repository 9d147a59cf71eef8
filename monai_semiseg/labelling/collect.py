"""Labels that came back become labelled cases of training: checked, measured, and never lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.label_values import ignore_value
from monai_semiseg.errors import ConfigError, FormatError, InputError, LabelError
from monai_semiseg.images.grid import Grid
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume, collect_warnings
from monai_semiseg.labelling.collected_case import (
    CollectedCase,
    Collection,
    Status,
    load_case,
    save_case,
)
from monai_semiseg.labelling.corrections import corrections_of
from monai_semiseg.labelling.decisions import Decision, read_decisions
from monai_semiseg.labelling.label_writer import with_ignore, write_label
from monai_semiseg.labelling.returned import (
    COLLECTED,
    LABELS,
    Mask,
    changed_mask,
    find_returned,
    read_mask,
)
from monai_semiseg.labelling.slices import looked_at
from monai_semiseg.labelling.target import NewLabel, Target, extended, save_extension
from monai_semiseg.labelling.tasks import (
    PROPOSALS,
    TABLE,
    Task,
    TaskFolder,
    files_of_image,
    hash_of_voxels,
    hashes_of,
    labellers_words,
)
from monai_semiseg.storage.newest import Newest

_RECORD = ".collect.json"


class Collector:
    """Collect the labels of a folder of tasks.

    A label file is the truth about its case, with a record beside it in ``collected/``; both are
    whole or absent. So a run that was killed loses nothing, and a second run changes nothing.

    Args:
        tasks: what was handed out.
        target: the datalist that labels go into.
        returned: folder with what came back; None for the folder of tasks.
        labels: folder of the label files; None for ``labels`` in the folder of tasks.
        accept_unchanged: take proposals that nobody changed as labels.
    """

    def __init__(
        self,
        tasks: TaskFolder,
        target: Target,
        *,
        returned: Path | None = None,
        labels: Path | None = None,
        accept_unchanged: bool = False,
    ) -> None:
        self.tasks = tasks
        self.target = target
        self.returned = returned or tasks.folder
        self.labels = labels or tasks.folder / LABELS
        self.accept_unchanged = accept_unchanged
        self.words: dict[str, dict[str, str]] = {}
        for folder in dict.fromkeys([tasks.folder, self.returned]):
            self.words |= labellers_words(folder, tasks.tasks)
        folders = dict.fromkeys([tasks.folder, tasks.folder / PROPOSALS, self.returned])
        self.decisions: dict[str, Decision] = {}
        for folder in folders:
            self.decisions |= read_decisions(folder)
        self.names_in_run = {task.name_in_run for task in tasks.tasks}
        self.ignore = target.ignore_number(tasks.ignore)
        self.rule = target.rule

    def run(self, output: Path) -> Collection:
        """Check all that came back, write label files and records, and extend the datalist.

        Args:
            output: datalist to write; one that is there must be an earlier form of it.

        Raises:
            ConfigError: If another process collects here, or ``output`` is another datalist.
            OutputError: If the disk is full.
        """
        newest = Newest(self.tasks.folder / _RECORD)
        newest.begin()
        try:
            return self._run(output, newest)
        finally:
            newest.close()

    def _run(self, output: Path, newest: Newest) -> Collection:
        found = find_returned(self.tasks, self.returned)
        failed = dict(found.foreign)
        cases = []
        for task in tqdm(self.tasks.tasks, "Collecting", disable=None, unit="case"):
            try:
                with collect_warnings():
                    case = self._collect(task, found.by_task.get(task.name, []))
                cases.append(case)
            except InputError as error:
                failed[task.id] = error.reason
        datalist = self._datalist()
        if not newest.is_newest:
            raise ConfigError(
                "another process has begun to collect here",
                expected="one collect at a time; the later one continues",
                path=newest.path,
            )
        save_extension(datalist, output)
        return Collection(cases, failed, datalist)

    def _collect(self, task: Task, files: Sequence[Path]) -> CollectedCase:
        """Return what became of a task; write its label if it has one."""
        before = self._record(task)
        if not files:
            return before or CollectedCase(task.id, "missing")
        mask = changed_mask([read_mask(file, self.tasks.names, task.grid) for file in files], task)
        words = self.words.get(task.id, {})
        seen = looked_at(words.get("slices", ""), task.grid, str(self.tasks.folder / TABLE))
        label = self._with_ignored(mask.array, seen)
        status = self._status(task, mask, label, seen)
        case = CollectedCase(task.id, status, task.image, str(mask.path))
        if status == "rejected" and before is not None:
            raise _rejected_late(self._label_paths(before)[0])
        if not case.is_labelled:
            return before or case
        if (fault := self.target.fault(task.image, self._entry(before))) is not None:
            raise fault
        image = self._image(task)
        case = self._write(task, case, image, label)
        case = replace(case, minutes=_minutes(words.get("minutes", "")))
        if before is not None and _unmeasured(case) == _unmeasured(before):
            return before
        return self._measured(task, case, image.grid, label)

    def _image(self, task: Task) -> Volume:
        """Read the image of a task; it must be the one that was handed out."""
        paths = self.target.paths(task.image)
        absent = [path for path in paths if not path.exists()]
        if absent:
            raise FormatError(
                "the image does not exist", expected="the image of the task", path=absent[0]
            )
        if hashes_of(files_of_image(paths)) != sorted(task.images.values()):
            raise FormatError(
                "the image has changed since its mask was proposed",
                expected="the image of the task",
                remedy="propose a mask for the new image",
                path=paths[0],
            )
        return read_scan(
            paths, channels=self.target.channel_names, stack_pages=self.rule.stack_pages
        )

    def _with_ignored(
        self, mask: NDArray[np.int32], seen: NDArray[np.bool_] | None
    ) -> NDArray[np.int32]:
        """Return the label: voxels marked as ignored, and slices not looked at, are ``ignore``."""
        label = np.where(mask == self.tasks.ignore, np.int32(self.ignore), mask)
        return label if seen is None else np.where(seen, label, np.int32(self.ignore))

    def _status(
        self,
        task: Task,
        mask: Mask,
        label: NDArray[np.int32],
        seen: NDArray[np.bool_] | None,
    ) -> Status:
        """Tell labels from mere proposals: somebody changed them, or said that they are right."""
        decision = self._decision(task)
        if decision is not None and decision.decision == "rejected":
            return "rejected"
        if (label == self.ignore).all():
            return "not_looked_at"
        if mask.voxels != task.voxels:
            return "corrected"
        if decision is None:
            is_right = self.accept_unchanged
        else:
            proposal = self.tasks.folder / task.proposal
            is_right = decision.decision == "accepted" and decision.is_about(proposal)
        return "accepted" if is_right or seen is not None else "unchanged"

    def _decision(self, task: Task) -> Decision | None:
        """Return the decision on a proposal; another task's name on the page is none of its own."""
        by_hand = [name for name in task.mask_names if name not in self.names_in_run]
        names = [*by_hand, task.name_in_run]
        return next((self.decisions[name] for name in names if name in self.decisions), None)

    def _write(
        self, task: Task, case: CollectedCase, image: Volume, label: NDArray[np.int32]
    ) -> CollectedCase:
        """Write the label files of a case."""
        values = np.unique(label)
        rule = self.rule
        if self.ignore in values:
            rule = with_ignore(rule, self.ignore)
        names = {**self.tasks.labels, self.ignore: "ignore"}
        files = write_label(label, image, self.labels / task.name, names, rule)
        folder = self.tasks.folder
        return replace(
            case,
            files=[_shown(file, folder) for file in files],
            voxels=hash_of_voxels(label),
            values=[int(value) for value in values],
            ignored=int((label == self.ignore).sum()),
        )

    def _measured(
        self, task: Task, case: CollectedCase, grid: Grid, label: NDArray[np.int32]
    ) -> CollectedCase:
        """Compare with the proposal, and write the record of the case."""
        path = self.tasks.folder / task.proposal
        proposal = read_mask(path, self.tasks.labels, grid)
        changes = corrections_of(proposal.array, label, self.tasks.labels, grid, self.ignore)
        different = (proposal.array != label) & (label != self.ignore)
        case = replace(
            case,
            changed=int(different.sum()),
            changes={name: one.record() for name, one in changes.items()},
        )
        save_case(case, self._record_path(task))
        return case

    def _record_path(self, task: Task) -> Path:
        return self.tasks.folder / COLLECTED / f"{task.name}.json"

    def _record(self, task: Task) -> CollectedCase | None:
        """Return what an earlier run collected, if its label files are still there."""
        return load_case(self._record_path(task), self.tasks.folder)

    def _label_paths(self, case: CollectedCase) -> list[Path]:
        return [self.tasks.folder / file for file in case.files]

    def _entry(self, case: CollectedCase | None) -> str | list[str] | None:
        """Return a collected label as an entry of the datalist has it."""
        return None if case is None else self.target.relative(self._label_paths(case))

    def _datalist(self) -> dict[str, Any]:
        """Return the datalist with all labels that were ever collected from these tasks."""
        kept = [case for task in self.tasks.tasks if (case := self._record(task)) is not None]
        known = [case for case in kept if not self.target.fault(case.image, self._entry(case))]
        new = [NewLabel(case.image, self._label_paths(case), case.values) for case in known]
        labels = dict(self.target.labels)
        rule = self.rule
        if any(case.ignored for case in known) and ignore_value(labels) is None:
            labels = {**(labels or self.tasks.labels), self.ignore: "ignore"}
            rule = with_ignore(rule, self.ignore)
        return extended(self.target, new, rule, labels)


def _unmeasured(case: CollectedCase) -> CollectedCase:
    return replace(case, changed=0, changes={})


def _rejected_late(label: Path) -> LabelError:
    return LabelError(
        "was collected before its mask was rejected",
        expected="decisions that are made before collect",
        remedy="remove the label from the datalist and move this file away",
        path=label,
    )


def _minutes(text: str) -> float | None:
    """Return the minutes that a labeller noted; None for anything else than a number."""
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError:
        return None


def _shown(file: Path, folder: Path) -> str:
    """Return a path relative to a folder if it lies in it, else in full."""
    inside = file.resolve().is_relative_to(folder.resolve())
    return (
        file.resolve().relative_to(folder.resolve()).as_posix() if inside else str(file.resolve())
    )
