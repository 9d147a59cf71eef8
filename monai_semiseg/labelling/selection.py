"""Selection of the scans to label next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from monai_semiseg.datasets.datalist import SECTIONS
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset, case_of
from monai_semiseg.datasets.layout import files_text
from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.bootstrap import group_key
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.labelling.chosen import held_out
from monai_semiseg.labelling.clusters import Array
from monai_semiseg.labelling.features import Encoder
from monai_semiseg.labelling.readings import read_all
from monai_semiseg.labelling.strategies import DEFAULT, Pick, Pool, Strategy, strategy_named
from monai_semiseg.labelling.survey import Survey, one_thread, take_stock

# Case ids -> a trained model's doubt about each, or the reason why it has none.
Doubt: TypeAlias = Callable[[Sequence[DatasetCase]], Mapping[str, float | str]]
_LABELLED = ("training", "validation")


@dataclass(frozen=True)
class Chosen:
    """A scan to label.

    Attributes:
        case: the scan.
        score: as its strategy measures; None if it measures nothing.
        reason: what it stands for, in words.
    """

    case: DatasetCase
    score: float | None
    reason: str


@dataclass(frozen=True)
class Selection:
    """Scans to label, and what became of all others.

    Attributes:
        strategy: name of the strategy.
        chosen: in the order in which to label them.
        apart: scan -> why it was not to be chosen; among them labelled ones that were not read.
        duplicates: scan -> the scan that it is nearly the same as.
        unread: scans, among these, that could not be read or encoded.
        map: scan -> two coordinates; near means alike.
        labelled: scans that have a label.
    """

    strategy: str
    chosen: list[Chosen]
    apart: dict[str, str]
    duplicates: dict[str, str]
    unread: list[str]
    map: dict[str, tuple[float, float]]
    labelled: list[str]


def select(
    dataset: ScanDataset,
    count: int,
    *,
    strategy: str = DEFAULT,
    already: Mapping[str, Any] | None = None,
    encoder: Encoder | None = None,
    doubt: Doubt | None = None,
    seed: int = 0,
    workers: int = 4,
    progress: bool = True,
    executor: ExecutorChoice | None = None,
    logs: Path | None = None,
) -> Selection:
    """Choose which scans to label.

    Every patient gives one scan before any gives a second one. Faulty scans, scans unlike all
    others and near duplicates are never chosen. Equal arguments choose equal scans.

    Args:
        dataset: the data set.
        count: scans to choose; fewer are chosen if fewer are fit.
        strategy: a name of :data:`~monai_semiseg.labelling.strategies.STRATEGIES`.
        already: datalist with the labelled scans (``training`` and ``validation``) and those that
            are held out (``test``). Scans of a patient that validates or tests are never chosen.
            Without a datalist, scans with a label file are labelled.
        encoder: maps images to features; None takes coarse intensities.
        doubt: of a trained model; some strategies need it.
        seed: of all that is random.
        workers: threads that read, in this process.
        progress: show a progress bar.
        executor: what reads the images, in place of threads of this process.
        logs: folder for the workers' logs; has to be named with an executor.

    Raises:
        ConfigError: If the strategy is unknown or needs a model, there are fewer scans without a
            label than asked for or none that is fit, or the encoder or the executor cannot be
            opened.
        DimensionError: If some images are 2-D and others 3-D.
    """
    choose = strategy_named(strategy, has_model=doubt is not None)
    labelled, open_cases = divide(dataset, already)
    _require(dataset, count, labelled, open_cases)
    readings = read_all(
        dataset,
        [*labelled, *open_cases],
        encoder,
        workers=workers,
        progress=progress,
        executor=executor,
        logs=logs,
    )
    survey = take_stock(dataset, readings, [case.id for case in labelled])
    if doubt is not None:
        survey = _with_doubt(survey, doubt)
    picks = pick(survey, choose, min(count, len(survey.pool.ids)), seed)
    return _selection(strategy, survey, picks)


def divide(
    dataset: ScanDataset, already: Mapping[str, Any] | None
) -> tuple[list[DatasetCase], list[DatasetCase]]:
    """Return the cases that have a label, and those that may get one.

    A scan of a patient that validates or tests may not: no patient is on two sides.

    Raises:
        ConfigError: If the datalist names no case of the data set.
    """
    if already is None:
        labelled = [case for case in dataset.cases if case.label is not None]
        return labelled, [case for case in dataset.cases if case.label is None]
    sections = {
        case_of(entry).id: section for section in SECTIONS for entry in already.get(section, [])
    }
    of = {case.id: sections.get(files_text(case.image), "") for case in dataset.cases}
    if sections and not any(of.values()):
        raise ConfigError(
            f"the datalist names {len(sections)} scans, and none is in the data set",
            expected="a datalist of this data set, with paths relative to it",
            path=dataset.root,
        )
    labelled = [case for case in dataset.cases if of[case.id] in _LABELLED]
    closed = {*held_out(dataset, already), *(case.id for case in labelled)}
    return labelled, [case for case in dataset.cases if case.id not in closed]


def _require(
    dataset: ScanDataset,
    count: int,
    labelled: Sequence[DatasetCase],
    open_cases: Sequence[DatasetCase],
) -> None:
    if count < 1 or count > len(open_cases):
        raise ConfigError(
            f"--count {count}, and {len(open_cases)} of {len(dataset.cases)} scans have no label",
            expected="at least 1, and at most as many as have no label",
            remedy=""
            if open_cases or not labelled
            else "name the labelled ones with --already "
            "DATALIST, which monai-semiseg split writes; label files then do not count",
            path=dataset.root,
        )


def _with_doubt(survey: Survey, doubt: Doubt) -> Survey:
    """Add a model's doubt to the pool; scans without one are set apart.

    Raises:
        ConfigError: If the model has no answer to any scan.
    """
    found = doubt([survey.cases[name] for name in survey.pool.ids])
    failed = {name: text for name, text in found.items() if isinstance(text, str)}
    kept = [n for n, name in enumerate(survey.pool.ids) if name not in failed]
    if not kept:
        name, reason = next(iter(failed.items()))
        raise ConfigError(
            f"the model fails with every scan; {name}: {reason}",
            expected="weights that were trained on such scans",
        )
    pool = survey.pool.take(kept)
    values = np.array([float(found[name]) for name in pool.ids])
    return replace(
        survey,
        pool=replace(pool, doubt=values),
        apart={**survey.apart, **failed},
        unread=sorted({*survey.unread, *failed}),
    )


@one_thread()
def pick(survey: Survey, choose: Strategy, count: int, seed: int) -> list[Pick]:
    """Choose scans so that every patient gives one before any gives a second one.

    Each time, every patient with the fewest labelled scans is stood for by one: the scan nearest to
    the mean of the patient's, or the one with the most doubt.
    """
    pool = survey.pool
    groups = [group_key(name, survey.cases[name].group) for name in pool.ids]
    labels = Counter(group_key(name, survey.cases[name].group) for name in survey.labelled)
    picks: list[Pick] = []
    while len(picks) < count:
        taken = [one.index for one in picks]
        left = sorted(set(range(len(pool.ids))) - set(taken))
        fewest = min(labels[groups[n]] for n in left)
        members: dict[str, list[int]] = {}
        for n in left:
            if labels[groups[n]] == fewest:
                members.setdefault(groups[n], []).append(n)
        one_each = sorted(_representative(pool, several) for several in members.values())
        part = pool.take(one_each, taken)
        found = choose(part, min(count - len(picks), len(one_each)), seed)
        picks += [Pick(one_each[one.index], one.score) for one in found]
        labels.update(groups[one_each[one.index]] for one in found)
    return picks


def _representative(pool: Pool, members: Sequence[int]) -> int:
    if pool.doubt is not None:
        return members[int(pool.doubt[list(members)].argmax())]
    features = pool.features[list(members)]
    away = np.linalg.norm(features - features.mean(0), axis=1)
    return members[int(away.argmin())]


def _selection(strategy: str, survey: Survey, picks: Sequence[Pick]) -> Selection:
    from scipy.spatial.distance import cdist

    pool = survey.pool
    away = cdist(pool.features, pool.features[[one.index for one in picks]])
    followers = np.bincount(away.argmin(1), minlength=len(picks))
    chosen = [
        Chosen(
            survey.cases[pool.ids[one.index]],
            one.score,
            f"of the chosen scans the most like {count} of {len(pool.ids)}",
        )
        for one, count in zip(picks, followers, strict=True)
    ]
    return Selection(
        strategy,
        chosen,
        {name: survey.apart[name] for name in sorted(survey.apart)},
        {name: survey.duplicates[name] for name in sorted(survey.duplicates)},
        survey.unread,
        _map(survey.features),
        survey.labelled,
    )


def _map(features: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """Return the first two components of every scan."""
    return {
        name: (float(row[0]), float(row[1]) if len(row) > 1 else 0.0)
        for name, row in features.items()
    }
