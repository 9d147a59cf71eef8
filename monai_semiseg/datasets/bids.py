"""BIDS: subjects and sessions, whose file suffixes are the channels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from monai_semiseg.datasets.case_names import has_image_suffix, stem_of
from monai_semiseg.datasets.channels import add_file
from monai_semiseg.datasets.layout import LABEL_ALONE, Layout, ListedCase, Wanted, case_stem
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.detached import without_voxel_files

_LABELS = ("dseg", "mask")  # the first that a case has once is its label


def is_bids(root: Path) -> bool:
    """Return True if a folder holds subjects with ``anat`` folders."""
    return any(root.glob("sub-*/anat")) or any(root.glob("sub-*/ses-*/anat"))


def read_bids(root: Path, wanted: Wanted) -> Layout:
    """List every subject, or every session of a subject, as a case; the subject is the group.

    Label maps (``*_dseg``, ``*_mask``) are searched in ``derivatives`` and beside the images.

    Raises:
        ConfigError: If a case has several label maps and the user names none.
    """
    layout = Layout()
    images: dict[str, dict[str, str]] = defaultdict(dict)
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for file in without_voxel_files(list(_anatomy(root))):
        case, channel = _entities(file)
        name = file.relative_to(root).as_posix()
        if "derivatives" not in file.relative_to(root).parts and not _is_label(channel):
            add_file(images[case], channel, name, file.name)
        elif _is_label(channel):
            labels[case][name] = channel
    for case, channels in images.items():
        label = _label_of(root, labels.pop(case, {}), wanted)
        layout.cases.append(ListedCase(case_stem(case), channels, label, case.split("_")[0]))
    for names in labels.values():
        layout.problems |= dict.fromkeys(names, LABEL_ALONE)
    return layout


def _anatomy(root: Path) -> Iterator[Path]:
    """Yield the images of the ``anat`` folders, those of derivatives last."""
    for start in ("", "derivatives/*/", "derivatives/"):
        for session in ("", "ses-*/"):
            for folder in sorted(root.glob(f"{start}sub-*/{session}anat")):
                files = sorted(folder.iterdir())
                yield from (file for file in files if has_image_suffix(file.name))


def _entities(file: Path) -> tuple[str, str]:
    """Split ``sub-01_ses-02_acq-fast_T1w.nii.gz`` into the case and the rest, ``acq-fast_T1w``."""
    parts = stem_of(file).split("_")
    named = [part for part in parts if re.match(r"(sub|ses)-", part)]
    return "_".join(named), "_".join(part for part in parts if part not in named)


def _is_label(channel: str) -> bool:
    return channel.split("_")[-1] in _LABELS


def _label_of(root: Path, found: Mapping[str, str], wanted: Wanted) -> str | None:
    """Choose a case's label map among those found, file -> entities and suffix."""
    if wanted.label:
        names = [name for name, rest in found.items() if _matches(name, rest, wanted.label)]
        return _only(root, names)
    for suffix in _LABELS:
        names = [name for name, rest in found.items() if rest.split("_")[-1] == suffix]
        if names:
            return _only(root, names)
    return None


def _matches(name: str, rest: str, label: str) -> bool:
    """Return True if a label map is the one that ``--label`` names: entities, or a part of them."""
    return fnmatchcase(rest, label) or label in rest.split("_") or label in Path(name).parts


def _only(root: Path, names: Sequence[str]) -> str | None:
    if len(names) > 1:
        raise ConfigError(
            f"{len(names)} label maps of one case: {names[0]} and {names[1]}",
            expected="one label map for each case",
            remedy="name the label map with --label: its suffix, an entity such as desc-lesion, "
            "or its folder in derivatives",
            path=root,
        )
    return names[0] if names else None
