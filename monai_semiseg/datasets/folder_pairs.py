"""Layouts of pairs by name: folders of images and of labels, or masks beside images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from monai_semiseg.datasets.case_names import has_image_suffix, stem_of
from monai_semiseg.datasets.channels import channel_sets, patient_of
from monai_semiseg.datasets.layout import (
    LABEL_ALONE,
    Files,
    Layout,
    ListedCase,
    Wanted,
    entries_of,
    files_text,
    one_or_several,
)
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.detached import without_voxel_files
from monai_semiseg.images.formats import SCAN_SUFFIXES
from monai_semiseg.plain_text import printable

TRAINING = ("imagesTr", "labelsTr")
# Names of folders in small letters; any spelling of them is taken.
_LABELS = (
    *("labels", "masks", "label", "mask", "segmentations", "segmentation", "annotations"),
    *("annotation", "ground_truth", "groundtruth", "gt"),
)
_IMAGES = {
    "imagestr": ("labelstr",),
    **dict.fromkeys(("images", "image", "imgs", "img", "photos", "photographs"), _LABELS),
}
_MASK = re.compile(r"(?P<stem>.+?)[ _.-](mask|masks|segmentation|seg|gt|label)", re.IGNORECASE)


def image_folders(root: Path, wanted: Wanted) -> tuple[str, str] | None:
    """Return the names of the folders of images and of labels; None if there is no such pair.

    Capital letters make no difference. Of two folders alone, the one that is called like labels,
    or that the user names, holds the labels, whatever the other one is called.

    Raises:
        ConfigError: If there is no folder with the name that the user gives, or such pairs lie
            deeper.
    """
    folders = {entry.name.casefold(): entry.name for entry in entries_of(root) if entry.is_dir()}
    for images, labels in _IMAGES.items():
        if images in folders:
            if wanted.label and not (root / wanted.label).is_dir():
                raise ConfigError(
                    f"--label {wanted.label}, and no such folder beside {folders[images]}",
                    expected="the name of the folder with the labels",
                    path=root,
                )
            existing = [folders[label] for label in labels if label in folders]
            return folders[images], wanted.label or next(iter(existing), labels[0])
    _refuse_deeper_pairs(root, folders.values())
    named = (wanted.label.casefold(),) if wanted.label else _LABELS
    of_labels = [name for folded, name in folders.items() if folded in named]
    others = [name for name in folders.values() if name not in of_labels]
    alone = len(others) == len(of_labels) == 1 and any(map(_is_scan, entries_of(root / others[0])))
    return (others[0], of_labels[0]) if alone else None


def _refuse_deeper_pairs(root: Path, folders: Iterable[str]) -> None:
    """Refuse ``train/images`` and ``train/masks``: no folder of a case has such folders."""
    deeper = [name for name in sorted(folders) if _has_pair(root / name)]
    if deeper:
        raise ConfigError(
            f"no folders of images and labels here, but below: {', '.join(deeper[:3])}"
            + f" and {len(deeper) - 3} more" * (len(deeper) > 3),
            expected="the folder that holds images/ and labels/",
            remedy=f"name one of them, such as {root / deeper[0]}, or move the files together, or "
            "name the cases in a table: id,group,image,label",
            path=root,
        )


def _has_pair(folder: Path) -> bool:
    names = {entry.name.casefold(): entry for entry in entries_of(folder) if entry.is_dir()}
    return any(
        images in names and _holds_files(names[images]) and not names.keys().isdisjoint(labels)
        for images, labels in _IMAGES.items()
    )


def pairs_of_folders(root: Path, images: str, labels: str) -> Layout:
    """Pair the files of two folders by name.

    Folders within them, such as one for each diagnosis, have no meaning if every image has a name
    of its own. Else they belong to the name: ``images/patient1/01.png`` has the label
    ``labels/patient1/01.png``.
    """
    entries, masks = entries_of(root / images), entries_of(root / labels)
    if not any(map(_holds_files, entries)):
        return _paired(root, entries, masks)
    entries, masks = _files_of_folders(entries), _files_of_folders(masks)
    if len({stem_of(entry) for entry in entries}) == len(entries):
        return _paired(root, entries, masks)
    inside = dict.fromkeys(entries, root / images) | dict.fromkeys(masks, root / labels)
    return _paired(root, entries, masks, lambda file: _path_stem(file.relative_to(inside[file])))


def _path_stem(file: Path) -> str:
    return file.with_name(stem_of(file)).as_posix()


def _files_of_folders(entries: Sequence[Path]) -> list[Path]:
    """Return entries with the files of the folders among them; a folder of DICOM files stays."""
    found: list[Path] = []
    for entry in entries:
        found += _files_of_folders(entries_of(entry)) if _holds_files(entry) else [entry]
    return found


def _holds_files(folder: Path) -> bool:
    """Return True if a folder holds scans or pictures of one file each, and is no series."""
    return any(_is_scan(entry) or _holds_files(entry) for entry in entries_of(folder))


def _is_scan(file: Path) -> bool:
    return file.name.lower().endswith(tuple(SCAN_SUFFIXES)) and file.is_file()


def pairs_in_one_folder(root: Path) -> Layout:
    """Pair images with the masks beside them: ``a.jpg`` and ``a_mask.png``.

    Other files (tables, texts) are passed over.
    """
    files = [file for file in entries_of(root) if file.is_file() and has_image_suffix(file.name)]
    masks = [file for file in files if _MASK.fullmatch(stem_of(file))]
    return _paired(root, [file for file in files if file not in set(masks)], masks)


def mask_stem(stem: str) -> str:
    """Return the name of the image that a mask's name (without suffix) tells."""
    found = _MASK.fullmatch(stem)
    return found["stem"] if found else stem


def _paired(
    root: Path,
    images: Sequence[Path],
    masks: Sequence[Path],
    name_of: Callable[[Path], str] = stem_of,
) -> Layout:
    layout = Layout()
    images, masks = without_voxel_files(images), without_voxel_files(masks)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[name_of(image)].append(image)
    label_of = _labels_by_stem(root, {mask: name_of(mask) for mask in masks}, by_stem, layout)
    used = set()
    for case, channels in channel_sets(by_stem, label_of).items():
        # A single case_0000 or case_FLAIR keeps its name, and belongs to the label case.
        stem = case if case in label_of else patient_of(case)
        used.add(stem)
        for image in (again for name in channels.values() for again in by_stem[name][1:]):
            first = _relative(root, by_stem[name_of(image)][0])
            layout.problems[_relative(root, image)] = f"the same name as {first}"
        files = {channel: _relative(root, by_stem[name][0]) for channel, name in channels.items()}
        # Files that are named after contrasts alone are of one patient: the data set's name.
        name = printable(case) if case else root.resolve().name
        layout.cases.append(ListedCase(name, files, label_of.get(stem)))
    for stem in sorted(label_of.keys() - used):
        layout.problems[files_text(label_of[stem])] = LABEL_ALONE
    return layout


def _labels_by_stem(
    root: Path, masks: Mapping[Path, str], images: Collection[str], layout: Layout
) -> dict[str, Files]:
    """Return stem of the image -> label; of two labels with one stem, the second is a problem."""
    found: dict[str, Files] = {}
    parts: dict[str, list[str]] = {}
    spelled = _spellings({*images, *map(patient_of, images)})
    for mask, stem in masks.items():
        if stem.casefold() not in spelled:
            stem = mask_stem(stem)
        near = spelled.get(stem.casefold(), ())
        stem = near[0] if len(near) == 1 else stem
        name = _relative(root, mask)
        whole = next((image for image in _beginnings(stem) if image in images), "")
        if stem not in images and whole:
            parts.setdefault(whole, []).append(name)
        elif stem in found:
            layout.problems[name] = f"a label of {stem}, as {found[stem]} is"
        else:
            found[stem] = name
    several = any(len(names) > 1 for names in parts.values())
    for stem, names in parts.items():
        if several and stem not in found:  # CASE_lesion1, CASE_lesion2: to be merged
            found[stem] = one_or_several(names)
        else:
            layout.problems |= dict.fromkeys(names, LABEL_ALONE)
    return found


def _spellings(names: Iterable[str]) -> dict[str, list[str]]:
    """Return a name in small letters -> the names that it may be."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name.casefold()].append(name)
    return found


def _beginnings(stem: str) -> list[str]:
    """Return the beginnings of a name up to each of its separators, the longest first."""
    return [stem[: match.start()] for match in re.finditer(r"[ _.-]+", stem)][::-1]


def _relative(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()
