"""Conversion of a data set into the layout of nnU-Net v2 or of the Decathlon."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from monai_semiseg.datasets.case_names import file_names
from monai_semiseg.datasets.convert_files import (
    channels_of,
    file_ending,
    is_picture,
    is_plain_png,
    link,
    mapped,
    write_image,
)
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.description import NAME
from monai_semiseg.datasets.label_files import read_label, read_label_grid
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.datasets.label_rules import PLAIN
from monai_semiseg.datasets.label_values import ignore_value, mask_dtype
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.grid import Grid, axes_onto, onto_grid
from monai_semiseg.images.scan import read_grid
from monai_semiseg.images.volume import collect_warnings
from monai_semiseg.storage.files import output_errors

RECORD = "conversion.json"
_DECATHLON_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class _Conversion:
    """Hold what all cases of a conversion share.

    Attributes:
        dataset: valid cases, whose labels are declared.
        folder: folder that is written.
        ending: suffix of new files.
        numbers: numbers of the label files in the order of the new ones; empty to keep them.
        names: id of each case -> its name in the new layout.
    """

    dataset: ScanDataset
    folder: Path
    ending: str
    numbers: tuple[int, ...]
    names: dict[str, str]


def convert(
    dataset: ScanDataset,
    to: Literal["nnunet", "decathlon"],
    output: str | Path,
    *,
    progress: bool = True,
) -> Path:
    """Write a data set in another layout, whole or not at all.

    Files are linked where the layout can hold them as they are, and written anew where it cannot.
    nnU-Net gets one file for each channel, pictures as PNG, and consecutive numbers of labels with
    ``ignore`` as the last; images without a label are in ``imagesTs``. The Decathlon gets one file
    for each image, with the channels along the fourth axis; images without a label are entries
    without one. ``conversion.json`` says which case and which number became which.

    Args:
        dataset: valid cases (see :func:`~monai_semiseg.datasets.valid_cases.valid_cases`) with
            declared labels.
        to: ``nnunet`` or ``decathlon``.
        output: the new folder.
        progress: show a progress bar.

    Raises:
        ConfigError: If the folder exists, or lies inside the data set.
        InputError: If an image cannot be read, or the layout cannot hold it.
        OutputError: If the disk is full.
    """
    target = Path(output)
    require_new_folder(dataset, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name[:50]}-", dir=target.parent))
    try:
        with output_errors(target):
            part.chmod(0o755)
            _write(dataset, to, part, progress)
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def require_new_folder(dataset: ScanDataset, target: Path) -> None:
    """Require a folder that does not exist, outside of the data set.

    Raises:
        ConfigError: If it does, or lies inside.
    """
    if target.exists() or target.is_symlink():
        raise ConfigError(
            "exists", expected="a new folder", remedy="choose another folder", path=target
        )
    if target.resolve().is_relative_to(dataset.root.resolve()):
        raise ConfigError(
            "lies inside the data set", expected="a folder outside the dataset", path=target
        )


def _write(dataset: ScanDataset, to: str, folder: Path, progress: bool) -> None:
    numbers = label_order(dataset) if to == "nnunet" else ()
    work = _Conversion(
        dataset, folder, _ending(dataset), numbers, file_names(case.id for case in dataset.cases)
    )
    bar = tqdm(dataset.cases, "Converting", disable=None if progress else True, unit="scan")
    one_case = _nnunet_case if numbers else _decathlon_case
    with collect_warnings():  # the check has told them
        rows = [one_case(case, work) for case in bar]
    content = _nnunet_description(work) if to == "nnunet" else _decathlon_description(work, rows)
    _save(folder / NAME, content)
    _save(
        folder / RECORD,
        {
            "from": dataset.name,
            "cases": {work.names[case.id]: case.id for case in dataset.cases},
            "groups": {work.names[case.id]: case.group for case in dataset.cases if case.group},
            "labels": {str(old): new for new, old in enumerate(numbers)},
        },
    )


def _save(file: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))


def label_order(dataset: ScanDataset) -> tuple[int, ...]:
    """Return the numbers of the labels in ascending order; nnU-Net wants ``ignore`` last.

    The n-th of them is number n in nnU-Net's label files, counted from 0.
    """
    found = ignore_value(dataset.labels)
    ignore = [] if found is None else [found]
    return (*sorted({0, *dataset.labels} - set(ignore)), *ignore)


def _ending(dataset: ScanDataset) -> str:
    """Return the suffix of new files: nnU-Net wants one for all images and labels."""
    files = [file for case in dataset.cases for file in case.image_paths(dataset.root)]
    return ".png" if all(map(is_picture, files)) else ".nii.gz"


def _nnunet_case(case: DatasetCase, work: _Conversion) -> dict[str, Any]:
    files = case.image_paths(work.dataset.root)
    section = "imagesTr" if case.label is not None else "imagesTs"
    count = max(1, len(work.dataset.channel_names))
    several = 1 if work.ending == ".png" and len(files) == 1 else count
    targets = [
        work.folder / section / f"{work.names[case.id]}_{number:04}{work.ending}"
        for number in range(several)
    ]
    if len(files) == several and _fit(files, work.ending):
        for file, target in zip(files, targets, strict=True):
            link(file, target)
    else:
        volume = work.dataset.read_image(case)
        parts = [volume] if several == 1 else channels_of(volume)
        for part, target in zip(parts, targets, strict=True):
            write_image(part, target)
    if case.label is not None:
        _label(case, work, work.folder / "labelsTr" / f"{work.names[case.id]}{work.ending}")
    return {}


def _fit(files: Sequence[Path], ending: str) -> bool:
    """Return True if the files of a case can stay: of one kind, and on one grid."""
    if any(file_ending(file) != ending for file in files):
        return False
    if ending == ".png":
        return all(map(is_plain_png, files))
    first, *others = (read_grid(file) for file in files)
    return all(
        grid.shape == first.shape and bool((grid.affine == first.affine).all()) for grid in others
    )


def _decathlon_case(case: DatasetCase, work: _Conversion) -> dict[str, Any]:
    files = case.image_paths(work.dataset.root)
    stays = len(files) == 1 and (
        is_picture(files[0]) or file_ending(files[0]) in _DECATHLON_ENDINGS
    )
    ending = file_ending(files[0]) if stays else work.ending
    target = work.folder / "imagesTr" / f"{work.names[case.id]}{ending}"
    if stays:
        link(files[0], target)
    else:
        write_image(work.dataset.read_image(case), target)
    row = {"image": f"./imagesTr/{target.name}"}
    if case.label is not None:
        label = work.folder / "labelsTr" / f"{work.names[case.id]}{work.ending}"
        row["label"] = f"./labelsTr/{_label(case, work, label).name}"
    if case.group:
        row["group"] = case.group
    return row


def _label(case: DatasetCase, work: _Conversion, target: Path) -> Path:
    """Link a label whose numbers stay, or write it, voxel for voxel as the image."""
    image = work.dataset.read_grid(case)
    files = label_paths(work.dataset.root, case.label or ())
    plain = len(files) == 1 and replace(work.dataset.label_rule, palette={}) == PLAIN
    same = work.numbers in ((), tuple(range(len(work.numbers))))
    if plain and same and not is_picture(files[0]):
        ending = file_ending(files[0])
        fits = ending == work.ending or (not work.numbers and ending in _DECATHLON_ENDINGS)
        if fits and _in_same_order(read_label_grid(files[0]), image, files[0]):
            target = target.with_name(work.names[case.id] + ending)
            link(files[0], target)
            return target
    label = read_label(files, work.dataset.label_rule)
    array = onto_grid(label.array, label.grid, image, files[0])
    if work.numbers:
        array = mapped(array, work.numbers)
    else:
        array = array.astype(mask_dtype(list(work.dataset.labels)))
    write_image(replace(label, array=array, affine=image.affine, unit=image.unit), target)
    return target


def _in_same_order(label: Grid, image: Grid, path: Path) -> bool:
    """Return True if the axes of a label run as those of the image: nnU-Net turns neither."""
    axes = axes_onto(label, image, path)
    return label.shape == image.shape and np.array_equal(axes, [[0, 1], [1, 1], [2, 1]])


def _nnunet_description(work: _Conversion) -> dict[str, Any]:
    names = work.dataset.channel_names or (work.dataset.modality or "image",)
    labels = {
        work.dataset.labels.get(value, f"label_{value}"): new
        for new, value in enumerate(work.numbers)
    }
    labels = {"background" if new == 0 else name: new for name, new in labels.items()}
    return {
        "name": work.dataset.name,
        "channel_names": {str(number): name for number, name in enumerate(names)},
        "labels": labels,
        "numTraining": sum(case.label is not None for case in work.dataset.cases),
        "file_ending": work.ending,
    }


def _decathlon_description(work: _Conversion, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = work.dataset.channel_names or (work.dataset.modality,)
    return {
        "name": work.dataset.name,
        "modality": {str(number): name for number, name in enumerate(names)},
        "labels": {str(value): name for value, name in sorted(work.dataset.labels.items())},
        "numTraining": sum("label" in row for row in rows),
        "training": list(rows),
        "test": [],
    }
