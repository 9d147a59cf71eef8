"""Names and groups of evaluated cases, by the datalist that they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from monai_semiseg.datasets.case_names import without_suffix
from monai_semiseg.datasets.layout import case_stem, files_of


class CaseIds:
    """Names and groups of the cases of a datalist, by the paths of their label files.

    The name of a case is that of its label file. Where several have the same one, as in a folder
    per case, it is the path below the dataset's folder.

    Args:
        datalist: a whole datalist.
        dataset_dir: the folder that its paths are relative to; None knows no case.
    """

    def __init__(self, datalist: Mapping[str, Any], dataset_dir: str | None) -> None:
        self._entries: dict[str, tuple[str, str]] = {}
        if dataset_dir is None:
            return
        listed = [entry for part in datalist.values() if isinstance(part, list) for entry in part]
        labelled = [entry for entry in listed if isinstance(entry, dict) and entry.get("label")]
        first = [str(files_of(entry["label"])[0]) for entry in labelled]
        names = Counter(case_stem(PurePosixPath(file).name) for file in first)
        for entry, file in zip(labelled, first, strict=True):
            name = case_stem(PurePosixPath(file).name)
            if names[name] > 1:
                name = without_suffix(Path(file)).as_posix()
            group = str(entry.get("group") or "")
            self._entries[str(Path(dataset_dir) / file)] = (name, group)

    def name_of(self, label: str) -> str:
        """Return the name of the case with this label file."""
        return self._entries.get(label, (case_stem(Path(label).name), ""))[0]

    def group_of(self, label: str) -> str:
        """Return the group of the case with this label file; empty if nobody declares one."""
        return self._entries.get(label, ("", ""))[1]
