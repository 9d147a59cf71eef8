"""Evaluation by workers: each scores some of the cases, and one writes the tables of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ignite.engine import Events
from monai.data import DataLoader
from torch.utils.data import Subset

from monai_semiseg.bundles.command_line import begin_command
from monai_semiseg.bundles.recipe import BundleRecipe
from monai_semiseg.datasets.layout import files_of
from monai_semiseg.evaluation.case_scores import CaseScores, worst_of
from monai_semiseg.evaluation.cases import FailedCase
from monai_semiseg.evaluation.handler import CaseMetrics
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import open_engine
from monai_semiseg.executors.run import Done, run_work
from monai_semiseg.handlers.checkpoint import InitialWeights

Scored: TypeAlias = CaseScores | FailedCase


@dataclass(frozen=True)
class EvaluationRecipe(BundleRecipe[int, Scored]):
    """Open an evaluation in a worker; items are positions in its section of the datalist."""

    def open(self) -> Callable[[Sequence[int]], Iterator[Scored]]:
        """Load the network."""
        begin_command()
        get = self.workflow("evaluate").parser.get_parsed_content
        metrics: CaseMetrics = get("case_metrics")
        evaluator = get("evaluator")
        found: list[Scored] = []
        # In place of the tables: they are written by the one that has all cases.
        for event, handler in metrics.handlers.items():
            evaluator.remove_event_handler(handler, event)
        for handler in get("handlers"):
            if isinstance(handler, InitialWeights):  # once, and not at the start of every chunk
                evaluator.remove_event_handler(handler.load, Events.STARTED)
                handler.load(evaluator)
        evaluator.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: found.extend(metrics.scored(engine))
        )
        dataset = evaluator.data_loader.dataset

        def score(numbers: Sequence[int]) -> Iterator[Scored]:
            found.clear()
            _evaluate(evaluator, DataLoader(Subset(dataset, numbers), batch_size=1))
            kept = {id(one) for one in worst_of(_scores(found), metrics.show)}
            for one in found:
                yield one if id(one) in kept or isinstance(one, FailedCase) else _unpictured(one)

        return score


def _evaluate(evaluator: Any, loader: DataLoader) -> None:
    evaluator.data_loader = loader
    evaluator.state.epoch_length = len(loader)
    evaluator.run()


def _scores(found: Sequence[Scored]) -> list[CaseScores]:
    return [one for one in found if isinstance(one, CaseScores) and one.rows]


def _unpictured(scores: CaseScores) -> CaseScores:
    """Leave out the picture of a case that is none of the worst: it is as large as the scan."""
    return replace(scores, preview=None)


def evaluate_by_team(
    recipe: EvaluationRecipe, executor: ExecutorChoice, output: Path
) -> dict[str, Any]:
    """Score all cases by workers, write the tables as one process would, return the summary.

    Args:
        recipe: of the workers.
        executor: what does the work.
        output: folder of the tables; the workers' logs go below it.

    Raises:
        ConfigError: If there is no scan, or the executor cannot be opened.
        CheckpointError: If the weights do not fit.
    """
    get = recipe.workflow("evaluate").parser.get_parsed_content
    metrics: CaseMetrics = get("case_metrics")
    cases = get("evaluator").data_loader.dataset.data
    with open_engine(executor, recipe, output / "logs") as engine:
        metrics.begin(len(cases))
        early: dict[int, Scored] = {}
        following = 0
        for done in run_work(engine, range(len(cases))):
            early[done.number] = _scored_or_lost(done, metrics, cases)
            metrics.advance()
            while following in early:  # tables are in the order of the datalist
                metrics.add(early.pop(following))
                following += 1
    return metrics.write()


def _scored_or_lost(
    done: Done[int, Scored], metrics: CaseMetrics, cases: Sequence[Mapping[str, Any]]
) -> Scored:
    if done.error is None:
        return done.value()
    name = metrics.ids.name_of(files_of(cases[done.item]["label"])[0])
    return FailedCase(name, done.error.code, done.error.reason)
