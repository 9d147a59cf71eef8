"""A labeller who knows the truth: every task is corrected with the dataset's own labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.errors import ConfigError
from monai_semiseg.inference.outputs import CaseOutputs
from monai_semiseg.labelling.task_formats import FORMATS
from monai_semiseg.labelling.task_masks import onto_image, read_copies, write_task_mask
from monai_semiseg.labelling.tasks import TaskFolder


def correct_with_truth(tasks: TaskFolder, dataset: ScanDataset) -> list[Path]:
    """Write the true label of every task over its proposal, in the kind that was handed out.

    Args:
        tasks: what was handed out.
        dataset: has a label for each of the cases.

    Returns:
        The files.

    Raises:
        ConfigError: If a case has no label.
        InputError: If a label cannot be read.
    """
    kind = FORMATS[str(tasks.about["format"])]
    outputs = CaseOutputs(tasks.folder, tasks.names, [kind], {}, preview=False)
    labels = _labels_of(dataset)
    written = []
    for task in tasks.tasks:
        if task.id not in labels:
            raise ConfigError(
                f"{task.id} has no label",
                expected="a dataset with the labels that the labeller is to know",
                path=dataset.root,
            )
        image = read_copies(
            [tasks.folder / file for file in task.images],
            dataset.channel_names,
            stack_pages=dataset.stack_pages,
        )
        truth = onto_image(labels[task.id], image, dataset.label_rule)
        written.append(write_task_mask(outputs, task.name, image, truth)[0])
    return written


def _labels_of(dataset: ScanDataset) -> Mapping[str, list[Path]]:
    return {
        case.id: label_paths(dataset.root, case.label)
        for case in dataset.cases
        if case.label is not None
    }
