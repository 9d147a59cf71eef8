"""Who segments the cases of a folder run: this process, or workers that have the same recipe."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semiseg.bundles.command_line import begin_command
from monai_semiseg.bundles.recipe import BundleRecipe
from monai_semiseg.datasets.cases import Case
from monai_semiseg.errors import OutputError, SemisegError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import Engine, open_engine
from monai_semiseg.executors.run import Hooks, run_work
from monai_semiseg.export.report import CaseResult
from monai_semiseg.inference.outputs import CaseOutputs
from monai_semiseg.inference.pipeline import overlapped
from monai_semiseg.inference.run_manifest import RunManifest
from monai_semiseg.inference.segmenter import CaseSegmenter
from monai_semiseg.inference.segmenter import Work as CaseWork
from monai_semiseg.plain_text import printable

if TYPE_CHECKING:
    from monai_semiseg.inference.runner import BatchRunner

# Results of cases as they come, each with the log of who did it.
Segment = Callable[[Sequence[Case], Callable[[], bool]], Iterator[tuple[CaseResult, str]]]


def segmented(
    work: CaseSegmenter,
    manifest: RunManifest,
    cases: Sequence[Case],
    stopped: Callable[[], bool] = lambda: False,
    *,
    explain: Callable[[BaseException], None] = lambda cause: None,
) -> Iterator[tuple[CaseResult, str]]:
    """Segment cases in this process; reading, computing and writing overlap.

    Args:
        work: the steps of a case.
        manifest: for its entry.
        cases: to segment.
        stopped: asked before every case; if True, no more are begun.
        explain: called with what made a case fail.

    Raises:
        OutputError: If the disk is full: it would fail all others too.
    """

    def finish(done: CaseWork) -> CaseWork:
        """Write a case, then its entry; the network does not wait for the disk."""
        work.write(done)
        if done.result is not None:
            manifest.add(done.case, done.result)
        return done

    for done in overlapped(cases, work.read, work.compute, finish, stopped):
        if done.result is not None:
            yield done.result, ""
        if done.cause is not None:
            explain(done.cause)
        if isinstance(done.cause, OutputError):
            raise done.cause from done.cause.__cause__


@dataclass(frozen=True)
class RunnerRecipe(BundleRecipe[Case, CaseResult]):
    """Make the coordinator's runner again in a worker.

    Attributes:
        output: folder of the masks.
        zoo: arguments of :func:`~monai_semiseg.inference.zoo.open_zoo_bundle`, for a bundle that is
            not ours; else None.
        number: of the run, see :class:`~monai_semiseg.inference.run_manifest.RunManifest`.
    """

    output: Path
    zoo: Mapping[str, Any] | None = None
    number: int = 0

    def runner(self) -> BatchRunner:
        """Open the bundle, and return its runner.

        Raises:
            ConfigError: If a key is unknown, or the bundle lacks what a runner needs.
        """
        from monai_semiseg.inference.zoo import open_zoo_bundle

        if self.zoo is not None:
            return open_zoo_bundle(self.bundle, dict(self.settings), self.overlays, **self.zoo)
        get = self.workflow("inference").parser.get_parsed_content
        runner: BatchRunner = get("runner")
        return runner

    def open(self) -> Callable[[Sequence[Case]], Iterator[CaseResult]]:
        """Load the network."""
        begin_command()
        return self.runner().worker(self.number)

    def finished(self, items: Sequence[Case]) -> Mapping[int, CaseResult]:
        """Return the cases with an entry of this run whose masks are there."""
        manifest = RunManifest(self.output, {}, self.number)
        results = manifest.finished()
        return {
            position: results[case.id]
            for position, case in enumerate(items)
            if manifest.is_finished(case)
        }


@dataclass(frozen=True)
class Team:
    """Workers that segment the cases of a run.

    Attributes:
        choice: what does the work.
        recipe: of every worker's runner.
    """

    choice: ExecutorChoice
    recipe: RunnerRecipe

    @contextmanager
    def begun(self, manifest: RunManifest, outputs: CaseOutputs) -> Iterator[Segment]:
        """Open the engine; yield what segments cases by it.

        Raises:
            ConfigError: If it cannot be opened.
        """
        recipe = replace(self.recipe, number=manifest.number)
        with open_engine(self.choice, recipe, manifest.output / "logs") as engine:
            yield lambda cases, stopped: _segmented_by(engine, manifest, outputs, cases, stopped)


def _segmented_by(
    engine: Engine,
    manifest: RunManifest,
    outputs: CaseOutputs,
    cases: Sequence[Case],
    stopped: Callable[[], bool],
) -> Iterator[tuple[CaseResult, str]]:
    """Segment cases by workers; a case whose workers ended too often fails by name."""
    for done in run_work(engine, cases, Hooks(stopped)):
        if done.error is None:
            manifest.keep(done.item, done.value())
            yield done.value(), done.log
            continue
        name = printable(str(done.item.source))
        lost = CaseResult(name, "failed", "", done.error.reason, done.error.code)
        outputs.clear(done.item)
        manifest.add(done.item, lost)
        yield lost, done.log


def explain(cause: BaseException) -> None:
    """Write why a case failed into a worker's log, with the traceback of an unexpected error."""
    if isinstance(cause, SemisegError):
        sys.stderr.write(f"{cause}\n")
    else:
        traceback.print_exception(cause, file=sys.stderr)
