"""One folder a case: ``patient07/FLAIR.nii.gz``, ``T1.nii.gz``, ``lesions.nii.gz``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_semiseg.datasets.case_names import has_image_suffix, stem_of
from monai_semiseg.datasets.channels import add_file, channel_groups
from monai_semiseg.datasets.label_maps import has_label_name
from monai_semiseg.datasets.layout import LABEL_ALONE, Layout, ListedCase, Wanted, entries_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.images.detached import without_voxel_files
from monai_semiseg.images.formats import files_under
from monai_semiseg.plain_text import printable


def folders_of_cases(root: Path) -> dict[Path, dict[str, Path]]:
    """Return folder -> name -> file, of all folders below ``root`` that hold images.

    A name has no suffix, and not the name of the folder that files of some data sets repeat
    (``case1/case1_flair.nii.gz``).
    """
    found: dict[Path, dict[str, Path]] = {}
    files = [
        file
        for file in files_under(root)
        if file.parent != root and file.is_file() and has_image_suffix(file.name)
    ]
    for file in without_voxel_files(files):
        name = stem_of(file)
        short = name.removeprefix(file.parent.name).strip(" _.-") or name
        add_file(found.setdefault(file.parent, {}), short, file, file.name)
    return found


def folder_of_one_case(root: Path, wanted: Wanted) -> dict[Path, dict[str, Path]]:
    """Return ``root`` -> name -> file, if it holds the contrasts of one patient; else empty.

    Its images are then named after contrasts alone (``FLAIR.nii.gz``, ``T1.nii.gz``).
    """
    files: dict[str, Path] = {}
    for file in without_voxel_files(entries_of(root)):
        if file.is_file() and has_image_suffix(file.name):
            add_file(files, stem_of(file), file, file.name)
    label = wanted.label.casefold()
    images = [name for name in files if name.casefold() != label and not has_label_name(Path(name))]
    channels = channel_groups(images).get("", {})
    return {root: files} if channels and len(channels) == len(images) else {}


def read_case_folders(
    root: Path, folders: Mapping[Path, Mapping[str, Path]], wanted: Wanted
) -> Layout:
    """List every folder as a case with the files as channels, and one as the label.

    Raises:
        ConfigError: If the label cannot be guessed from the names.
    """
    label = wanted.label or _guess_label(root, list(folders.values()))
    layout = Layout()
    folder_name = root.resolve().name
    for folder, files in folders.items():
        names = {name: file.relative_to(root).as_posix() for name, file in files.items()}
        of_label = [name for name in names if name.casefold() == label.casefold()]
        labels = [names.pop(name) for name in of_label]
        case = printable(folder.relative_to(root).as_posix() if folder != root else folder_name)
        if names:
            layout.cases.append(ListedCase(case, names, labels[0] if labels else None))
        else:
            layout.problems |= dict.fromkeys(labels, LABEL_ALONE)
    if wanted.label and not any(case.label for case in layout.cases):
        raise _no_such_label(root, wanted.label, folders)
    return layout


def _guess_label(root: Path, folders: Sequence[Mapping[str, Path]]) -> str:
    """Return the name of the one label map that most folders have; empty if none has any."""
    shown = Counter(name for files in folders for name in files)
    likely = [name for name in shown if has_label_name(Path(name))]
    common = [name for name in likely if 2 * shown[name] >= len(folders)] or likely
    if len(common) > 1:
        raise ConfigError(
            f"several files that may be the label: {', '.join(sorted(common))}",
            expected="one label map in each folder",
            remedy=f"name the label: --label {sorted(common)[0]}",
            path=root,
        )
    return common[0] if common else ""


def _no_such_label(
    root: Path, label: str, folders: Mapping[Path, Mapping[str, Path]]
) -> ConfigError:
    names = sorted(next(iter(folders.values())))
    return ConfigError(
        f"--label {label}, and no folder has a file of this name",
        expected=f"one of {', '.join(names)}",
        path=root,
    )
