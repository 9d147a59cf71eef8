"""Reading of ``dataset.json`` of the Decathlon, of nnU-Net v1 and of nnU-Net v2."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from monai_semiseg.datasets.case_names import stem_of
from monai_semiseg.datasets.channels import MAX_CHANNELS, channel_fault, split_number
from monai_semiseg.datasets.folder_pairs import TRAINING, pairs_of_folders
from monai_semiseg.datasets.label_rules import read_labels
from monai_semiseg.datasets.layout import (
    Files,
    Layout,
    ListedCase,
    case_stem,
    files_of,
    one_or_several,
)
from monai_semiseg.datasets.sides import declared_sides
from monai_semiseg.errors import ConfigError

NAME = "dataset.json"


def described_layout(content: dict[str, Any], root: Path) -> Layout:
    """Return the cases that ``dataset.json`` in a dataset's folder describes.

    Args:
        content: of the file, see :func:`read_content`.
        root: the folder.

    Raises:
        ConfigError: If the format is unknown, or labels are regions.
    """
    try:
        layout = _read(content, root)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"not a Decathlon or nnU-Net description ({type(error).__name__}: {error})",
            expected='"training": [{"image": ..., "label": ...}, ...] and '
            '"labels": {"0": "background", ...}',
            path=root / NAME,
        ) from error
    describe(layout, content, root)
    _note_absent_files(layout, root)
    _check_count(layout, content)
    return layout


def lists_cases(content: Mapping[str, Any]) -> bool:
    """Return False if ``dataset.json`` names labels alone, beside images in another layout."""
    return "labels" not in content or any(
        key in content for key in ("training", "channel_names", "file_ending", "numTraining")
    )


def describe(layout: Layout, content: Mapping[str, Any], root: Path) -> None:
    """Give a layout the labels, the name and the sides that ``dataset.json`` declares.

    Raises:
        ConfigError: If labels are regions, or have neither numbers nor colours.
    """
    layout.labels, layout.colours = declared_in(content, root)
    layout.name = str(content.get("name", ""))
    layout.sides = declared_sides(content, root / NAME)


def read_content(file: Path) -> dict[str, Any]:
    """Return the content of a ``dataset.json``. File names may have bytes that are not UTF-8.

    Raises:
        ConfigError: If it is no JSON object.
    """
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig", "surrogateescape"))
    except ValueError as error:
        found = f"not a Decathlon or nnU-Net description ({type(error).__name__}: {error})"
        raise ConfigError(found, expected="JSON", path=file) from error
    if not isinstance(content, dict):
        raise ConfigError("no JSON object", expected='{"labels": ..., "training": ...}', path=file)
    return content


def _read(content: dict[str, Any], root: Path) -> Layout:
    if "channel_names" in content:
        return _nnunet_v2(content, root)
    if "training" not in content and ("file_ending" in content or "numTraining" in content):
        raise ConfigError(
            "no channel_names",
            expected='"channel_names": {"0": "FLAIR", ...}, as nnU-Net v2 has it',
            remedy="add the name of every channel, in the order of the numbers of the files",
            path=root / NAME,
        )
    return _decathlon(content, root)


def declared_in(content: Mapping[str, Any], root: Path) -> tuple[dict[int, str], dict[str, str]]:
    """Return number -> name of the labels of a description, and name -> colour.

    Raises:
        ConfigError: If labels are regions, or have neither numbers nor colours.
    """
    labels = dict(content.get("labels", {}))
    regions = [name for name, number in labels.items() if isinstance(number, list | tuple)]
    if regions:
        raise ConfigError(
            f"region labels ({', '.join(regions)})",
            expected="one number for each label",
            remedy="write label maps with one number per structure, and name them in labels",
            path=root / NAME,
        )
    return read_labels(labels, root / NAME)


def _decathlon(content: dict[str, Any], root: Path) -> Layout:
    modality = content.get("modality", "")
    names = [modality] if isinstance(modality, str) else list(dict(modality).values())
    layout = Layout(
        modality=", ".join(map(str, names)),
        channel_names=tuple(str(name) for name in names if name),
    )
    by_label: dict[str, list[str]] = {}
    for entry in content["training"]:
        entry = {"image": entry} if isinstance(entry, str) else dict(entry)
        images = [_on_disk(root, str(name)) for name in _listed(entry["image"])]
        label = _label(root, entry.get("label"))
        files = _numbered_on_disk(root, images[0]) if len(images) == 1 else images
        group = str(entry.get("group", ""))
        case_id = case_stem(Path(files[0]).name if len(files) == 1 else Path(images[0]).name)
        if len(images) > 1:
            case_id = _shared_stem(label, images)
        layout.cases.append(ListedCase(case_id, _by_channel(files, layout), label, group))
        if isinstance(label, str):
            by_label.setdefault(label, []).append(layout.cases[-1].id)
    _refuse_shared_labels(layout, by_label)
    return layout


def _shared_stem(label: Files | None, images: list[str]) -> str:
    """Return the name of a case of several files: its label's, or that of the first channel."""
    if isinstance(label, str):
        return case_stem(Path(label).name)
    return case_stem(split_number(stem_of(images[0]))[0])


def _refuse_shared_labels(layout: Layout, by_label: Mapping[str, list[str]]) -> None:
    """Leave out images that are listed with one label: contrasts that a split would separate."""
    shared = {label: set(ids) for label, ids in by_label.items() if len(ids) > 1}
    for case in layout.cases:
        if isinstance(case.label, str) and case.label in shared:
            names = [
                Path(files_of(file)[0]).name
                for other in layout.cases
                if other.label == case.label
                for file in other.images.values()
            ]
            fault = channel_fault(case_stem(Path(case.label).name), names)
            layout.problems[case.id] = f"{fault}, each in an entry; list them in one entry"
    layout.cases = [case for case in layout.cases if case.id not in layout.problems]


def _nnunet_v2(content: dict[str, Any], root: Path) -> Layout:
    declared = dict(content["channel_names"])
    order = sorted(declared, key=lambda key: int(key) if str(key).isdigit() else 0)
    names = tuple(str(declared[key]) for key in order)
    layout = Layout(
        modality=", ".join(names),
        channel_names=names,
    )
    if "dataset" not in content:
        found = pairs_of_folders(root, *TRAINING)
        layout.problems = found.problems
        ending = str(content.get("file_ending", ""))
        layout.cases = [case for case in found.cases if _has_ending(case, ending, layout)]
        layout.cases = [_named(case, names) for case in layout.cases]
        return layout
    for name, entry in dict(content["dataset"]).items():  # files outside of nnU-Net's folders
        files = [_on_disk(root, str(image)) for image in _listed(entry["images"])]
        case_id = case_stem(Path(files[0]).name) if len(files) == 1 else case_stem(str(name))
        label = _label(root, entry.get("label"))
        layout.cases.append(ListedCase(case_id, _by_channel(files, layout), label))
    return layout


def _has_ending(case: ListedCase, ending: str, layout: Layout) -> bool:
    """Return True if the files of a case have the data set's ending; note them if not."""
    files = [name for of_channel in case.images.values() for name in files_of(of_channel)]
    wrong = [name for name in files if not name.lower().endswith(ending.lower())]
    if ending:
        text = f"not a {ending} file, the file_ending of {NAME}"
        layout.problems |= dict.fromkeys(wrong, text)
    return not (ending and wrong)


def _named(case: ListedCase, names: tuple[str, ...]) -> ListedCase:
    """Give the numbered files of a case the declared names of their channels."""
    known = {f"{number:04}": name for number, name in enumerate(names)}
    images = {known.get(channel, channel): files for channel, files in case.images.items()}
    if len(case.images) == 1 and "" in case.images and len(names) > 1:
        # Colour pictures of nnU-Net have one file, CASE_0000.png, and the names of three channels.
        return case
    return ListedCase(case.id, images, case.label, case.group)


def _by_channel(files: list[str], layout: Layout) -> dict[str, Files]:
    """Return channel -> file in the declared order, or by number if the names are not as many."""
    names = layout.channel_names
    if len(files) == 1:
        return {"": files[0]}
    if len(names) != len(files):
        stems = [split_number(stem_of(file))[1] for file in files]
        names = tuple(stem or f"{number:04}" for number, stem in enumerate(stems))
    return dict(zip(names, files, strict=True))


def _listed(images: Any) -> list[Any]:
    return list(images) if isinstance(images, list | tuple) else [images]


def _label(root: Path, label: Any) -> Files | None:
    files = [_on_disk(root, str(name)) for name in _listed(label)] if label else []
    return one_or_several(files) or None


def _note_absent_files(layout: Layout, root: Path) -> None:
    for case in layout.cases:
        files = [*case.images.values(), *([] if case.label is None else [case.label])]
        for name in (name for several in files for name in files_of(several)):
            if not (root / name).exists():
                layout.problems[name] = f"listed in {NAME}, but does not exist"


def _check_count(layout: Layout, content: Mapping[str, Any]) -> None:
    """Note another number of labelled scans than an nnU-Net v2 description declares."""
    if "channel_names" not in content or "numTraining" not in content:
        return
    declared = int(content["numTraining"])
    labelled = sum(case.label is not None for case in layout.cases)
    if declared != labelled:
        layout.problems[NAME] = f"numTraining is {declared}, {labelled} scans have a label"


def _on_disk(root: Path, name: str) -> str:
    """Return a listed file as a relative path, also if its separators are backslashes.

    Raises:
        ConfigError: If it begins with a Windows drive.
    """
    if (root / name).exists():
        return Path(name).as_posix()
    if re.match(r"[A-Za-z]:[\\/]|\\\\", name):
        raise ConfigError(
            f"a path on a Windows drive ({name})",
            expected="paths relative to the folder of dataset.json",
            remedy="remove the part before imagesTr and labelsTr",
            path=root / NAME,
        )
    return PureWindowsPath(name).as_posix()


def _numbered_on_disk(root: Path, name: str) -> list[str]:
    """Return the files of a listed scan; nnU-Net v1 lists it without the channel numbers."""
    path = Path(name)
    if (root / path).exists():
        return [name]
    stem = stem_of(path)
    ending = path.name[len(stem) :]
    numbered = [path.with_name(f"{stem}_{n:04}{ending}") for n in range(MAX_CHANNELS)]
    existing = [file.as_posix() for file in numbered if (root / file).exists()]
    return existing if existing[:1] == [numbered[0].as_posix()] else [name]
