"""Split of a dataset into labelled, unlabelled, validation and test scans: the datalist."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.datasets.label_values import label_numbers
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import write_atomically

SIDE = "not chosen, and of the group of a validation or test scan"
SECTIONS = ("training", "unlabeled", "validation", "test")
AUTO = "auto"
ENOUGH_TO_VALIDATE = 10  # below this many labelled scans, every one trains


def seeded_order(ids: Iterable[str], *, salt: str) -> list[str]:
    """Sort case ids by the SHA-256 of ``salt`` and id.

    Unlike a shuffled list, this order is the same on every machine and for every version of Python
    and of the libraries. The order of two cases does not change if a third one is added.
    """
    return sorted(ids, key=lambda case_id: hashlib.sha256(f"{salt}/{case_id}".encode()).hexdigest())


def count_of(value: float, total: int, name: str) -> int:
    """Read ``value`` as a count (1, 20, ...) or as a fraction of ``total`` (0.1, rounded up).

    Raises:
        ConfigError: If it is neither, or more than ``total``.
    """
    count = math.ceil(value * total - 1e-9) if 0 < value < 1 else int(value)
    if count != value and not 0 < value < 1:
        raise ConfigError(
            f"--{name} is {value}",
            expected="a whole number of scans, or a fraction between 0 and 1",
        )
    if not 0 <= count <= total:
        raise ConfigError(
            f"--{name} asks for {count} of {total} labelled scans",
            expected=f"at most {total}",
            remedy=f"lower --{name}, or label more scans",
        )
    return count


def split(
    dataset: ScanDataset,
    *,
    labelled: float | None,
    test: float | str = 0.2,
    validation: float | str = AUTO,
    seed: int = 0,
    test_seed: int = 0,
) -> dict[str, Any]:
    """Divide a dataset into labelled training, unlabelled training, validation and test.

    Test scans depend on ``test_seed`` alone, so that every ``seed`` and every budget is measured on
    the same scans. The labelled budgets of one seed are nested: the first 4 labelled scans are
    among the first 10. Validation scans are part of the labelled budget.

    Scans of one group (a patient) are never on two sides: a group is whole in test, in validation,
    or in training and unlabelled. Counts are of scans. A group that would exceed a count is not
    begun, unless it is the first one. Without groups, every scan is one.

    Args:
        dataset: the dataset; scans with a label may be labelled training, validation or test.
        labelled: labelled scans for training and validation, as a count or as a fraction of the
            scans that are not test; None for all of those.
        test: test scans, as a count or a fraction of all labelled scans, or as a pattern such as
            ``testA_*``: exactly the labelled cases whose ids match. Labelled scans that do not
            match but share a group with one that does are left out.
        validation: fraction of the labelled budget for validation (rounded, at least one scan if
            the budget is two or more); ``auto`` is 0 below 10 labelled scans and 0.1 from 10 on.
        seed: seed that selects the labelled scans.
        test_seed: seed that selects the test scans.

    Returns:
        A datalist in MONAI's decathlon form with the sections ``training``, ``unlabeled``,
        ``validation`` and ``test``. Paths are relative to the dataset's folder. Entries of
        ``unlabeled`` hold no label. ``left_out`` names unlabelled scans whose group is held out.

    Raises:
        ConfigError: If the budget cannot be met.
    """
    group_of = {case.id: case.group for case in dataset.cases}
    test_ids, rest = test_and_rest(dataset, test, test_seed)
    budget = len(rest) if labelled is None else count_of(labelled, len(rest), "labelled")
    order = in_groups(rest, group_of, salt=f"labelled/{seed}")
    labelled_budget = _whole_groups(order, budget)
    budget = len(labelled_budget)
    asked = bool(test_ids or rest) or labelled is not None
    share = _validation_share(validation, budget)
    n_validation = _validation_count(share, budget) if asked else 0
    validation_ids = _whole_groups(order, n_validation, below=budget)
    training_ids = labelled_budget[len(validation_ids) :]
    held_out = {group_of[case_id] for case_id in (*test_ids, *validation_ids)} - {""}
    chosen = {*test_ids, *labelled_budget}
    others = sorted(case.id for case in dataset.cases if case.id not in chosen)
    apart = [case_id for case_id in others if group_of[case_id] in held_out]
    unlabelled = [case_id for case_id in others if group_of[case_id] not in held_out]
    entries = {case.id: case.entry() for case in dataset.cases}
    return {
        "name": dataset.name,
        "modality": dataset.modality,
        "labels": {str(index): name for index, name in dataset.labels.items()},
        **_kind(dataset),
        **({"label_rule": rule} if (rule := dataset.label_rule.record()) else {}),
        "split": {
            "labelled": budget,
            "seed": seed,
            "test_seed": test_seed,
            "validation_share": share,
            **({"test": test} if isinstance(test, str) else {}),
        },
        "training": [entries[case_id] for case_id in sorted(training_ids)],
        "unlabeled": [_without_label(entries[case_id]) for case_id in unlabelled],
        "validation": [entries[case_id] for case_id in sorted(validation_ids)],
        "test": [entries[case_id] for case_id in sorted(test_ids)],
        **({"left_out": dict.fromkeys(apart, SIDE)} if apart else {}),
    }


def test_and_rest(
    dataset: ScanDataset, test: float | str, test_seed: int = 0
) -> tuple[list[str], list[str]]:
    """Return the ids of the test scans, and of the labelled scans that may train.

    Args:
        dataset: the dataset.
        test: a count, a fraction or a pattern, as in :func:`split`.
        test_seed: seed that selects them; a pattern needs none.

    Raises:
        ConfigError: If there are fewer labelled scans, or none that matches the pattern.
    """
    labelled_ids = [case.id for case in dataset.cases if case.label is not None]
    group_of = {case.id: case.group for case in dataset.cases}
    if isinstance(test, str):
        test_ids = [case_id for case_id in labelled_ids if fnmatchcase(case_id, test)]
        if not test_ids:
            raise ConfigError(
                f"--test {test!r} matches none of {len(labelled_ids)} labelled scans",
                expected="a count, a fraction, or a pattern of case ids such as 'testA_*'",
                remedy=f"ids look like {', '.join(labelled_ids[:2])}" if labelled_ids else "",
            )
    else:
        n_test = count_of(test, len(labelled_ids), "test")
        order = in_groups(labelled_ids, group_of, salt=f"test/{test_seed}")
        test_ids = _whole_groups(order, n_test)
    held_out = {group_of[case_id] for case_id in test_ids} - {""}
    rest = {case_id for case_id in labelled_ids if group_of[case_id] not in held_out}
    return test_ids, sorted(rest - set(test_ids))


def _kind(dataset: ScanDataset) -> dict[str, Any]:
    """Return the facts about the images of a dataset that are known."""
    facts = {
        "channel_names": list(dataset.channel_names),
        "spatial_dims": dataset.spatial_dims,
        "unit": dataset.unit,
    }
    return {key: value for key, value in facts.items() if value}


def _without_label(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "label"}


def in_groups(ids: Iterable[str], group_of: Mapping[str, str], *, salt: str) -> list[list[str]]:
    """Return the cases of each group, the groups in their seeded order.

    A case without a group is one by itself, so that without groups this is the order of cases.
    """
    members: dict[str, list[str]] = {}
    for case_id in ids:
        group = group_of[case_id]
        members.setdefault(f"group {group}" if group else case_id, []).append(case_id)
    return [sorted(members[key]) for key in seeded_order(members, salt=salt)]


def _whole_groups(groups: Sequence[list[str]], count: int, below: int | None = None) -> list[str]:
    """Return the cases of the first groups, as many as ``count`` holds whole, but at least one.

    Args:
        groups: cases of each group.
        count: most cases; the first group may have more.
        below: number of cases that are not reached, even with one group; or None.
    """
    found: list[str] = []
    for group in groups:
        if count and (not found or len(found) + len(group) <= count):
            found += group
        else:
            break
    return [] if below is not None and len(found) >= below else found


def _validation_share(asked: float | str, budget: int) -> float:
    if isinstance(asked, str):
        if asked != AUTO:
            raise ConfigError(f"--validation is {asked!r}", expected=f"{AUTO}, or a share")
        return 0.1 if budget >= ENOUGH_TO_VALIDATE else 0.0
    return asked


def _validation_count(share: float, budget: int) -> int:
    if budget < 1:
        raise ConfigError(
            "no labelled scan is left for training", expected="--labelled of at least 1 scan"
        )
    if not 0 <= share < 1:
        raise ConfigError(
            f"--validation is {share}", expected="a share of the labelled budget, 0 to below 1"
        )
    return max(1, round(share * budget)) if share > 0 and budget > 1 else 0


def write_datalist(datalist: dict[str, Any], path: Path) -> Path:
    """Write a datalist as indented JSON, equal bytes for equal splits, and return its path."""
    return write_atomically(path, json.dumps(datalist, indent=1, ensure_ascii=False) + "\n")


def load_datalist(path: str | Path) -> dict[str, Any]:
    """Read a whole datalist, with its paths unchanged.

    Raises:
        ConfigError: If there is no such file, or it is not a datalist.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(
            "no datalist there",
            expected="a datalist with the labelled scans",
            remedy=f"monai-semiseg split DATASET --labelled 20 --output {file}",
            path=file,
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"no JSON ({error})", expected="a MONAI decathlon datalist", path=file
        ) from error
    if not isinstance(content, dict) or "training" not in content:
        raise ConfigError("no section training", expected="a MONAI decathlon datalist", path=file)
    return content


def declared_labels(datalist: Mapping[str, Any]) -> dict[int, str]:
    """Return the declared labels of a datalist, number in the label files -> name; or empty.

    Raises:
        ConfigError: If they cannot be read.
    """
    return label_numbers(datalist.get("labels") or {})


def read_datalist(
    path: str | Path,
    dataset_dir: str | Path,
    section: str,
    *,
    some_absent: bool = False,
    channel_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Read one section of a datalist with absolute paths, for the bundles' configs.

    An image of several files (channels) is a list of paths. The group is left out, because it is no
    path.

    Args:
        path: a datalist of ``monai-semiseg split``, or any MONAI decathlon datalist.
        dataset_dir: the folder that the datalist's paths are relative to.
        section: ``training``, ``unlabeled``, ``validation`` or ``test``.
        some_absent: True if some of the scans may be absent, which the caller then reports.
        channel_names: channels of the network, in its order.

    Raises:
        ConfigError: If the file, the section or a scan does not exist, or the datalist has the
            channels in another order.
    """
    content = load_datalist(path)
    _require_order(content.get("channel_names") or (), channel_names, Path(path))
    if section not in content:
        known = ", ".join(key for key, value in content.items() if isinstance(value, list))
        raise ConfigError(
            f"no section {section!r}; it has {known}", expected=f"{section!r}", path=Path(path)
        )
    root = Path(dataset_dir)
    entries = [
        {key: _absolute(root, files) for key, files in entry.items() if key != "group"}
        for entry in content[section]
    ]
    absent: list[str] = []
    complete = 0  # entries whose files all exist
    for entry in entries:
        names = [name for files in entry.values() for name in _flat(files)]
        missing = [name for name in names if not Path(name).exists()]
        absent += missing
        complete += not missing
    if absent and not (some_absent and complete):
        raise ConfigError(
            f"{len(absent)} scans of section {section!r} are not there, the first is {absent[0]}",
            expected="paths relative to dataset_dir",
            remedy="set --dataset_dir to the folder that was split",
            path=Path(path),
        )
    return entries


def _require_order(found: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Refuse the network's channels in another order; other names are for the reader to count."""
    if list(found) != list(wanted) and sorted(found) == sorted(wanted):
        raise ConfigError(
            f"channels {', '.join(found)}",
            expected=f"{', '.join(wanted)}: the order that the network takes",
            remedy=f"split with --channels {','.join(wanted)}",
            path=path,
        )


def _absolute(root: Path, files: Any) -> str | list[str]:
    if isinstance(files, list | tuple):
        return [str(root / name) for name in files]
    return str(root / files)


def _flat(files: str | list[str]) -> list[str]:
    return [files] if isinstance(files, str) else files


def read_labelled(
    path: str | Path,
    dataset_dir: str | Path,
    measured: str = "test",
    *,
    channel_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Read all labelled scans of the budget, for training and for validation.

    Args:
        path: as in :func:`read_datalist`.
        dataset_dir: as in :func:`read_datalist`.
        measured: section to leave out, because results are measured on it.
        channel_names: as in :func:`read_datalist`.

    Raises:
        ConfigError: If the file or a scan does not exist, or no labelled scan is left.
    """
    content = load_datalist(path)
    found: list[dict[str, Any]] = []
    for section in ("training", "validation"):
        if section in content and section != measured:
            entries = read_datalist(path, dataset_dir, section, channel_names=channel_names)
            found += [entry for entry in entries if "label" in entry]
    if not found:
        raise ConfigError(
            "no labelled scan",
            expected="entries with a label under training or validation",
            path=Path(path),
        )
    return found


def read_images(
    path: str | Path,
    dataset_dir: str | Path,
    sections: Sequence[str] = ("training", "unlabeled"),
    *,
    channel_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Read the images of several sections of a datalist, for training without labels.

    Args:
        path: as in :func:`read_datalist`; no entry needs a label.
        dataset_dir: as in :func:`read_datalist`.
        sections: sections to read, by default all but validation and test; absent ones are skipped.
        channel_names: as in :func:`read_datalist`.

    Raises:
        ConfigError: If the file or a scan does not exist, or there is no image.
    """
    content = load_datalist(path)
    images: list[dict[str, Any]] = []
    for section in sections:
        if section in content:
            entries = read_datalist(path, dataset_dir, section, channel_names=channel_names)
            images += [{"image": entry["image"]} for entry in entries]
    if not images:
        raise ConfigError(
            "no image", expected=f"entries under {' or '.join(sections)}", path=Path(path)
        )
    return images
