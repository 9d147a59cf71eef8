"""Progress bar over the whole training, and the learning curve as files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from tqdm import tqdm

from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import atomic_path
from monai_semiseg.storage.tables import write_table


class TrainingProgress:
    """MONAI handler that shows a progress bar with loss, last validation metric and time left.

    Args:
        evaluator: the validation engine, if there is one.
        description: the bar's name.
    """

    def __init__(self, evaluator: Engine | None = None, description: str = "Training") -> None:
        self.evaluator = evaluator
        self.description = description
        self.bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Follow the engine from start to end."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._describe)
        engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self._close)

    def _open(self, engine: Engine) -> None:
        total = engine.state.max_epochs * engine.state.epoch_length
        self.bar = tqdm(
            total=total,
            initial=engine.state.iteration,
            desc=self.description,
            unit="it",
            mininterval=1.0,
            dynamic_ncols=True,
        )

    def _step(self, engine: Engine) -> None:
        self.bar.update(engine.state.iteration - self.bar.n)

    def _describe(self, engine: Engine) -> None:
        # Only once per epoch, because reading the loss waits for the device.
        shown = {"loss": f"{float(engine.state.output['loss'].detach()):.3f}"}
        metric = last_metric(self.evaluator)
        if metric is not None:
            shown["validation"] = f"{metric:.4f}"
        self.bar.set_postfix(shown)

    def _close(self, _: Engine, *error: BaseException) -> None:
        if self.bar is not None:
            self.bar.close()
        if error:
            raise error[0]


class LearningCurve:
    """MONAI handler that writes ``learning_curve.csv`` and ``.png``, one row per epoch.

    The column ``gradient_ratio`` compares the gradients of the unlabelled and the supervised loss,
    for methods with both.

    Its rows are part of the checkpoint, so a resumed training continues them.

    Args:
        folder: where both files go.
        evaluator: the validation engine, if there is one.
        write: whether this process writes.
    """

    def __init__(self, folder: str, evaluator: Engine | None = None, write: bool = True) -> None:
        self.folder = Path(folder)
        self.evaluator = evaluator
        self.write = write
        # Iteration, mean loss of the epoch, validation metric; with two losses their ratio.
        self.rows: list[list[float]] = []
        self._sum: torch.Tensor | float = 0.0

    def attach(self, engine: Engine) -> None:
        """Add up losses without waiting for the device; write after every epoch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the given rows."""
        self.rows = [list(row) for row in state["rows"]]

    def _add(self, engine: Engine) -> None:
        self._sum = self._sum + engine.state.output["loss"].detach()

    def _write(self, engine: Engine) -> None:
        validated = self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch
        metric = last_metric(self.evaluator) if validated else None
        mean = float(self._sum) / engine.state.epoch_length
        self._sum = 0.0
        if not math.isfinite(mean):
            raise ConfigError(
                f"the loss is {mean} after {engine.state.iteration} iterations",
                expected="a finite loss",
                remedy="lower learning_rate, or check the scans' intensities",
            )
        ratio = engine.state.output.get("gradient_ratio")
        row = [engine.state.iteration, mean, math.nan if metric is None else metric]
        self.rows.append(row if ratio is None else [*row, float(ratio)])
        if self.write:
            header = ["iteration", "loss", "validation", "gradient_ratio"][: len(self.rows[-1])]
            table = [_formatted(*row) for row in self.rows]
            write_table(self.folder / "learning_curve.csv", header, table)
            draw_curve(self.rows, self.folder / "learning_curve.png")


def _formatted(iteration: float, loss: float, *further: float) -> list[Any]:
    cells = ["" if math.isnan(value) else f"{value:.6f}" for value in further]
    return [int(iteration), f"{loss:.6f}", *cells]


def last_metric(evaluator: Engine | None) -> float | None:
    """Return the evaluator's key metric; None before its first run."""
    if evaluator is None:
        return None
    name = getattr(evaluator.state, "key_metric_name", None)
    value = evaluator.state.metrics.get(name) if name else None
    return None if value is None else float(value)


def draw_curve(rows: list[list[float]], path: Path) -> None:
    """Draw loss (left axis) and validation metric (right axis) over iterations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5))
    # Margins for any numbers: to fit them takes as long as to draw, and one is drawn every epoch.
    axes = figure.subplots(gridspec_kw={"left": 0.12, "right": 0.88, "bottom": 0.15, "top": 0.95})
    iterations = [row[0] for row in rows]
    axes.plot(iterations, [row[1] for row in rows], color="tab:blue", label="training loss")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss", color="tab:blue")
    points = [(row[0], row[2]) for row in rows if not math.isnan(row[2])]
    if points:
        right = axes.twinx()
        steps, dice = zip(*points, strict=True)
        right.plot(steps, dice, color="tab:orange", marker=".", label="validation Dice")
        at, best = max(points, key=lambda point: point[1])
        right.set_ylabel(f"validation Dice (best {best:.4f} at {int(at)})", color="tab:orange")
    with atomic_path(path) as part:
        figure.savefig(part, dpi=110)
