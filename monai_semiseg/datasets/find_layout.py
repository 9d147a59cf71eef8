"""Which layout a dataset's folder or file has."""

from __future__ import annotations

from pathlib import Path

from monai_semiseg.datasets.bids import is_bids, read_bids
from monai_semiseg.datasets.case_folders import (
    folder_of_one_case,
    folders_of_cases,
    read_case_folders,
)
from monai_semiseg.datasets.case_names import has_image_suffix
from monai_semiseg.datasets.description import (
    NAME,
    describe,
    described_layout,
    lists_cases,
    read_content,
)
from monai_semiseg.datasets.dicom_tree import holds_dicom, read_dicom_tree
from monai_semiseg.datasets.folder_pairs import (
    image_folders,
    pairs_in_one_folder,
    pairs_of_folders,
)
from monai_semiseg.datasets.layout import Layout, ListedCase, Wanted, case_stem
from monai_semiseg.datasets.table import read_table
from monai_semiseg.errors import ConfigError


def layout_of_file(file: Path, wanted: Wanted) -> Layout:
    """Return what a table, a ``dataset.json`` or a single image lists.

    Raises:
        ConfigError: If a table or a ``dataset.json`` cannot be used.
    """
    if file.suffix.lower() == ".csv":
        return read_table(file, file.parent)
    if file.name == NAME:
        return described_layout(read_content(file), file.parent)
    return Layout([ListedCase(case_stem(file.name), {"": file.name})])


def layout_of_folder(root: Path, wanted: Wanted) -> Layout:
    """Return what a folder lists, in the first layout that fits it.

    Raises:
        ConfigError: If no layout fits, or the options do not fit the layout.
    """
    if not (root / NAME).is_file():
        return _layout_of_files(root, wanted)
    content = read_content(root / NAME)
    if lists_cases(content):
        _refuse_label(wanted, NAME)
        return described_layout(content, root)
    layout = _layout_of_files(root, wanted)
    describe(layout, content, root)
    return layout


def _layout_of_files(root: Path, wanted: Wanted) -> Layout:
    if folders := image_folders(root, wanted):
        return pairs_of_folders(root, *folders)
    if is_bids(root):
        return read_bids(root, wanted)
    if holds_dicom(root):
        _refuse_label(wanted, "a tree of DICOM series")
        return read_dicom_tree(root, wanted)
    if case := folder_of_one_case(root, wanted):
        return read_case_folders(root, case, wanted)
    if any(entry.is_file() and has_image_suffix(entry.name) for entry in root.iterdir()):
        _refuse_label(wanted, "masks beside images")
        return pairs_in_one_folder(root)
    if cases := folders_of_cases(root):
        return read_case_folders(root, cases, wanted)
    raise ConfigError(
        "no dataset.json, no imagesTr or images folder, and no image",
        expected="the layout of the Decathlon, of nnU-Net or of BIDS, folders images and labels, a "
        "folder for each case, or DICOM series",
        remedy="arrange the scans as images/NAME.nii.gz and labels/NAME.nii.gz, or name them in a "
        "table: id,group,image,label",
        path=root,
    )


def _refuse_label(wanted: Wanted, layout: str) -> None:
    if wanted.label:
        raise ConfigError(
            f"--label {wanted.label}, and the layout is {layout}, which says what a label is",
            expected="--label for BIDS, a folder for each case, or folders of images and labels",
            remedy="leave --label out, or name the cases in a table: id,group,image,label",
        )
