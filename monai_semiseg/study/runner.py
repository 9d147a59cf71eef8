"""Run of a study's cells: by one or many workers, resumable, one progress bar over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import open_engine
from monai_semiseg.executors.run import Hooks, run_work
from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.cell_work import CellWork, log_of
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.shared_training import import_weights, should_wait_for


@dataclass
class RunOutcome:
    """The end of a study's run.

    Attributes:
        failed: cell -> last line of its log, and the log.
        elsewhere: cells that another process works on.
    """

    failed: dict[str, tuple[str, Path]] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


class _Progress:
    """Bar over the iterations of all cells, whoever runs them: their files say how far they are."""

    def __init__(self, specs: Sequence[CellSpec], shown: bool) -> None:
        self.outcomes = [CellOutcome(spec) for spec in specs]
        self.names: list[str] = []
        begun = sum(outcome.progress() for outcome in self.outcomes)
        self.bar: Any = tqdm(
            total=sum(spec.iterations for spec in specs),
            initial=begun,
            desc="Study",
            unit="it",
            smoothing=0,
            dynamic_ncols=True,
            disable=None if shown else True,
        )

    def show(self) -> None:
        """Bring the bar up to date."""
        self.bar.set_postfix_str(", ".join(self.names), refresh=False)
        self.bar.update(sum(outcome.progress() for outcome in self.outcomes) - self.bar.n)


def run_cells(
    specs: Sequence[CellSpec],
    *,
    logs: Path,
    executor: ExecutorChoice | None = None,
    progress: bool = True,
    work: CellWork | None = None,
) -> RunOutcome:
    """Run all cells that are not finished; a cell that fails does not stop the others.

    If the run is killed, the same call resumes it: finished cells are kept, and a training
    continues from its last checkpoint.

    Args:
        specs: cells.
        logs: folder for the workers' logs; each cell has a log of its own beside it.
        executor: what runs them; None: one after the other, here.
        progress: show a bar over the iterations of all cells.
        work: what a worker does.

    Raises:
        ConfigError: If a cell's folder holds the work of another configuration, or the executor
            cannot be opened.
        ExecutorError: If the executor has ended.
    """
    for spec in specs:
        CellOutcome(spec).claim()
    found = RunOutcome()
    rest = [spec for spec in specs if not CellOutcome(spec).done]
    if not rest:
        return found
    shown = _Progress(specs, progress)

    def before(spec: CellSpec) -> None:
        import_weights(spec, specs)
        if spec.name not in shown.names:  # it is there already if its worker was lost
            shown.names.append(spec.name)

    def ready(spec: CellSpec, held: Sequence[CellSpec]) -> bool:
        return not any(should_wait_for(spec, other) for other in held)

    hooks = Hooks(ready=ready, before=before, tick=shown.show)
    chosen = executor or ExecutorChoice()
    with shown.bar, open_engine(chosen, work or CellWork(rest[0].device), logs) as engine:
        for done in run_work(engine, rest, hooks):
            spec = done.item
            shown.names.remove(spec.name)
            if done.error is not None:
                found.failed[spec.name] = (done.error.found, done.error.path or log_of(spec))
            elif done.value().failure:
                found.failed[spec.name] = (done.value().failure, log_of(spec))
            elif done.value().elsewhere and not CellOutcome(spec).done:
                found.elsewhere.append(spec.name)
    return found
