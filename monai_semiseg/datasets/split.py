"""Split of a dataset into labelled, unlabelled, validation and test scans."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.errors import ConfigError

SIDE = "not chosen, and of the group of a validation or test case"
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
    share = 0 < value < 1
    if not share and not float(value).is_integer():  # nor are nan and inf
        raise ConfigError(
            f"--{name} is {value}",
            expected="a whole number of scans, or a fraction between 0 and 1",
        )
    count = math.ceil(value * total - 1e-9) if share else int(value)
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
    chosen: Sequence[str] | None = None,
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
        chosen: ids of the labelled scans, in place of ``labelled`` and ``seed``. They are no test
            scans: others are taken in their place, as far as there are labelled ones.

    Returns:
        A datalist in MONAI's decathlon form with the sections ``training``, ``unlabeled``,
        ``validation`` and ``test``. Paths are relative to the dataset's folder. Entries of
        ``unlabeled`` hold no label. ``left_out`` names unlabelled scans whose group is held out.

    Raises:
        ConfigError: If the budget cannot be met, or a chosen scan cannot be labelled.
    """
    division = _divide(dataset, test, test_seed, labelled, validation, seed, chosen)
    return {
        "name": dataset.name,
        "modality": dataset.modality,
        "labels": {str(index): name for index, name in dataset.labels.items()},
        **_kind(dataset),
        **({"label_rule": rule} if (rule := dataset.label_rule.record()) else {}),
        "split": {
            "labelled": len(division.training) + len(division.validation),
            "seed": seed,
            "test_seed": test_seed,
            "validation_share": division.validation_share,
            **({"test": test} if isinstance(test, str) else {}),
            **({} if chosen is None else {"chosen": True}),
        },
        **_sections(dataset, division),
    }


def _sections(dataset: ScanDataset, division: _Division) -> dict[str, Any]:
    """Return the entries of the datalist's sections."""
    entries = {case.id: case.entry() for case in dataset.cases}
    return {
        "training": [entries[case_id] for case_id in sorted(division.training)],
        "unlabeled": [_without_label(entries[case_id]) for case_id in division.unlabelled],
        "validation": [entries[case_id] for case_id in sorted(division.validation)],
        "test": [entries[case_id] for case_id in sorted(division.test)],
        **({"left_out": dict.fromkeys(division.apart, SIDE)} if division.apart else {}),
    }


@dataclass(frozen=True)
class _Division:
    """Hold the ids of the cases on every side.

    Attributes:
        training: with a label.
        validation: likewise.
        test: likewise.
        unlabelled: all others that may train.
        apart: cases that may not, since their group is held out.
        validation_share: share of the labelled budget that validates.
    """

    training: list[str]
    validation: list[str]
    test: list[str]
    unlabelled: list[str]
    apart: list[str]
    validation_share: float


def _divide(
    dataset: ScanDataset,
    test: float | str,
    test_seed: int,
    labelled: float | None,
    validation: float | str,
    seed: int,
    wanted: Sequence[str] | None,
) -> _Division:
    """Divide the cases, as :func:`split` says."""
    group_of = {case.id: case.group for case in dataset.cases}
    test_ids, rest = test_and_rest(dataset, test, test_seed, keep=wanted or ())
    if wanted is None:
        budget = len(rest) if labelled is None else count_of(labelled, len(rest), "labelled")
        order = in_groups(rest, group_of, salt=f"labelled/{seed}")
        chosen = _whole_groups(order, budget)
    else:
        _require_labelled(wanted, rest, test_ids)
        order = in_groups(wanted, group_of, salt=f"labelled/{seed}")
        chosen = list(wanted)
    budget = len(chosen)
    share = _validation_share(validation, budget)
    is_asked = bool(test_ids or rest) or labelled is not None
    count = _validation_count(share, budget) if is_asked else 0
    validation_ids = _whole_groups(order, count, below=budget)
    held_out = {group_of[case_id] for case_id in (*test_ids, *validation_ids)} - {""}
    others = sorted({case.id for case in dataset.cases} - {*test_ids, *chosen})
    return _Division(
        training=[case_id for case_id in chosen if case_id not in set(validation_ids)],
        validation=validation_ids,
        test=test_ids,
        unlabelled=[case_id for case_id in others if group_of[case_id] not in held_out],
        apart=[case_id for case_id in others if group_of[case_id] in held_out],
        validation_share=share,
    )


def _require_labelled(wanted: Sequence[str], rest: Sequence[str], test: Sequence[str]) -> None:
    """Refuse chosen scans that cannot be labelled ones."""
    without = sorted(set(wanted) - set(rest))
    if not without:
        return
    tested = sorted(set(without) & set(test))
    reason = "are test scans" if tested else "have no label that can be used"
    raise ConfigError(
        f"{len(tested or without)} of {len(wanted)} chosen scans {reason}, such as "
        f"{(tested or without)[0]}",
        expected="labelled scans of the dataset that are not test scans",
        remedy="choose another --test" if tested else "label them, or remove their rows",
    )


def test_and_rest(
    dataset: ScanDataset, test: float | str, test_seed: int = 0, keep: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Return the ids of the test scans, and of the labelled scans that may train.

    Args:
        dataset: the dataset.
        test: a count, a fraction or a pattern, as in :func:`split`.
        test_seed: seed that selects them; a pattern needs none.
        keep: scans that have to train; with a count or a fraction, their groups are no test scans.

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
        test_ids = _whole_groups(order, n_test, keep=keep)
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


def _whole_groups(
    groups: Sequence[list[str]], count: int, below: int | None = None, keep: Collection[str] = ()
) -> list[str]:
    """Return the cases of the first groups, as many as ``count`` holds whole, but at least one.

    Args:
        groups: cases of each group.
        count: most cases; the first group may have more.
        below: number of cases that are not reached, even with one group; or None.
        keep: cases whose groups are passed over.
    """
    found: list[str] = []
    for group in groups:
        if not count or (found and len(found) + len(group) > count):
            break
        if set(keep).isdisjoint(group):
            found += group
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
            f"--validation is {share}", expected="a share of the labelled scans, from 0 to below 1"
        )
    return max(1, round(share * budget)) if share > 0 and budget > 1 else 0
