"""Layouts of pairs by name: folders of images and of labels, or masks beside images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from monai_semiseg.datasets.case_names import has_image_suffix, stem_of
from monai_semiseg.datasets.channels import channel_sets, patient_of
from monai_semiseg.datasets.layout import (
    Files,
    Layout,
    ListedCase,
    Wanted,
    case_stem,
    entries_of,
    files_text,
    one_or_several,
)
from monai_semiseg.errors import ConfigError

TRAINING = ("imagesTr", "labelsTr")
_IMAGES = {
    "imagesTr": ("labelsTr",),
    "images": ("labels", "masks"),
    "image": ("label", "mask", "labels", "masks"),
}
_MASK = re.compile(r"(?P<stem>.+?)[ _.-](mask|masks|segmentation|seg|gt|label)", re.IGNORECASE)


def image_folders(root: Path, wanted: Wanted) -> tuple[str, str] | None:
    """Return the names of the folders of images and of labels; None if there is no such pair.

    Raises:
        ConfigError: If there is no folder with the name that the user gives.
    """
    for images, labels in _IMAGES.items():
        if (root / images).is_dir():
            if wanted.label and not (root / wanted.label).is_dir():
                raise ConfigError(
                    f"--label {wanted.label}, and no such folder beside {images}",
                    expected="the name of the folder with the labels",
                    path=root,
                )
            existing = [label for label in labels if (root / label).is_dir()]
            return images, wanted.label or next(iter(existing), labels[0])
    return None


def pairs_of_folders(root: Path, images: str, labels: str) -> Layout:
    """Pair the files of two folders by name."""
    return _paired(root, entries_of(root / images), entries_of(root / labels))


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


def _paired(root: Path, images: Sequence[Path], masks: Sequence[Path]) -> Layout:
    layout = Layout()
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[stem_of(image)].append(image)
    label_of = _labels_by_stem(root, masks, by_stem, layout)
    used = set()
    for case, channels in channel_sets(by_stem, label_of).items():
        # A single case_0000 or case_FLAIR keeps its name, and belongs to the label case.
        stem = case if case in label_of else patient_of(case)
        used.add(stem)
        for image in (again for name in channels.values() for again in by_stem[name][1:]):
            first = _relative(root, by_stem[stem_of(image)][0])
            layout.problems[_relative(root, image)] = f"the same name as {first}"
        files = {channel: _relative(root, by_stem[name][0]) for channel, name in channels.items()}
        # Files that are named after contrasts alone are of one patient: the data set's name.
        name = case_stem(case) if case else root.resolve().name
        layout.cases.append(ListedCase(name, files, label_of.get(stem)))
    for stem in sorted(label_of.keys() - used):
        layout.problems[files_text(label_of[stem])] = "a label without an image"
    return layout


def _labels_by_stem(
    root: Path, masks: Sequence[Path], images: Collection[str], layout: Layout
) -> dict[str, Files]:
    """Return stem of the image -> label; of two labels with one stem, the second is a problem."""
    found: dict[str, Files] = {}
    parts: dict[str, list[str]] = {}
    patients = {patient_of(image) for image in images}
    for mask in masks:
        stem = stem_of(mask)
        if stem not in images and stem not in patients:
            stem = mask_stem(stem)
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
            layout.problems |= dict.fromkeys(names, "a label without an image")
    return found


def _beginnings(stem: str) -> list[str]:
    """Return the beginnings of a name up to each of its separators, the longest first."""
    return [stem[: match.start()] for match in re.finditer(r"[ _.-]+", stem)][::-1]


def _relative(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()
