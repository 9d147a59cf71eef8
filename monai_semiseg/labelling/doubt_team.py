"""Doubt of a trained model by workers: each asks it about some of the scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from monai_semiseg.bundles.command_line import begin_command
from monai_semiseg.bundles.recipe import BundleRecipe
from monai_semiseg.datasets.dataset import DatasetCase
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.run import Done, run_in_order
from monai_semiseg.labelling.doubt import Disagreement, Uncertainty, asking


@dataclass(frozen=True)
class DoubtRecipe(BundleRecipe[DatasetCase, float | str]):
    """Open a trained model, here or in a worker, and ask it about scans.

    Attributes:
        root: folder that the files of the cases are relative to.
        datalist: with the labelled scans, whose labels registration carries over; None asks how
            uncertain the network is.
    """

    root: Path
    datalist: Path | None = None

    def model(self) -> Uncertainty:
        """Load the network.

        Raises:
            ConfigError: If the bundle or a key is unknown, or labels cannot be added.
            CheckpointError: If the weights do not fit.
        """
        opened = (self.bundle, self.settings, self.overlays, self.root)
        if self.datalist is None:
            return Uncertainty(*opened)
        return Disagreement(*opened, self.datalist)

    def open(self) -> Callable[[Sequence[DatasetCase]], Iterator[float | str]]:
        """Load the network."""
        begin_command()
        return self.model().each


def doubt_by_team(
    recipe: DoubtRecipe, executor: ExecutorChoice, logs: Path, cases: Sequence[DatasetCase]
) -> dict[str, float | str]:
    """Return the doubt about each case, or the reason why it has none.

    Args:
        recipe: of the workers.
        executor: what does the work.
        logs: folder for the workers' logs.
        cases: to ask about.

    Raises:
        ConfigError: If the executor cannot be opened.
    """
    bar = partial(asking, total=len(cases))
    ends = run_in_order(executor, recipe, cases, logs, bar)
    return {end.item.id: _answer(end) for end in ends}


def _answer(end: Done[DatasetCase, float | str]) -> float | str:
    return end.value() if end.error is None else end.error.reason
