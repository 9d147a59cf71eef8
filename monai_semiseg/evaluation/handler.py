"""The evaluate workflow's handler: every case scored in its own geometry, tables written at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from tqdm import tqdm

from monai_semiseg.datasets.dataset import case_stem
from monai_semiseg.errors import ConfigError, GeometryError, InputError, readable
from monai_semiseg.evaluation.metrics import score_case
from monai_semiseg.evaluation.summary import ScoreRow, write_scores
from monai_semiseg.export.preview import Preview, draw_previews


class CaseMetrics:
    """MONAI handler for an evaluator whose output holds label maps ``pred`` and ``label`` in the scan's own grid.

    The batch holds the scan as it was read under ``native``, for the pictures.

    Writes ``metrics.csv``, ``metrics.json`` and ``worst_cases.png`` when the evaluator has seen all
    cases.

    Args:
        output_dir: where the tables go.
        label_names: index (as text, as JSON has it) -> name.
        show: how many of the worst cases are pictured.
        about: facts to keep in ``metrics.json`` (datalist, weights, ...).
        left_out: case -> why it cannot be scored; cases that fail here join them. They stand in
            ``metrics.json``.
    """

    def __init__(
        self,
        output_dir: str,
        label_names: dict[str, str],
        show: int = 4,
        about: dict[str, Any] | None = None,
        left_out: dict[str, str] | None = None,
    ) -> None:
        self.output_dir, self.show, self.about = Path(output_dir), show, about or {}
        self.names = {int(index): name for index, name in label_names.items() if int(index) > 0}
        self.rows: list[ScoreRow] = []
        self.left_out = {} if left_out is None else left_out
        self._fault: InputError | None = None
        self._worst: list[tuple[float, Preview]] = []
        self._bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Score after every iteration, write at the end.

        Raises:
            ConfigError: If there is no scan to evaluate; an engine without data would end well, and
                write nothing.
        """
        loader = getattr(engine, "data_loader", None)
        if loader is not None and len(loader) == 0:
            raise ConfigError(
                "no scan to evaluate",
                expected="a section of the datalist that holds scans",
                remedy="name another section, or split with test scans",
            )
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.rows, self._worst = [], []
        self._bar = tqdm(
            total=engine.state.epoch_length, desc="Evaluating", unit="scan", mininterval=1.0
        )

    def _score(self, engine: Engine) -> None:
        for item, source in zip(engine.state.output, engine.state.batch, strict=True):
            try:
                self._score_item(item, source)
            except InputError as error:
                self.left_out[readable(item["label"].meta["filename_or_obj"])] = error.reason
                self._fault = error
        self._bar.update()

    def _score_item(self, item: dict[str, Any], source: dict[str, Any]) -> None:
        path = str(item["label"].meta["filename_or_obj"])
        pred, label = (
            np.asarray(item[key].as_tensor().cpu())[0].round().astype(np.int64)
            for key in ("pred", "label")
        )
        if pred.shape != label.shape:
            raise GeometryError(
                f"label of shape {label.shape}, image of shape {pred.shape}",
                expected="a label on the image's grid",
                remedy="run monai-semiseg check",
                path=path,
            )
        spacing = [float(s) for s in item["label"].pixdim]
        scores = score_case(pred, label, spacing, sorted(self.names))
        case = case_stem(Path(path).name)  # as text, whatever bytes the name has
        self.rows += [
            ScoreRow(case, index, self.names[index], score) for index, score in scores.items()
        ]
        mean = float(np.mean([score.dice for score in scores.values()]))
        image = np.asarray(source["native"].cpu())[0]
        preview = Preview(
            f"{case}: Dice {mean:.3f}", image, pred.astype(np.uint8), tuple(spacing), label
        )
        self._worst = sorted([*self._worst, (mean, preview)], key=lambda pair: pair[0])[: self.show]

    def _write(self, engine: Engine) -> None:
        self._bar.close()
        if not self.rows and self._fault is not None:
            raise self._fault
        about = {**self.about, "left_out": self.left_out} if self.left_out else self.about
        engine.state.metrics["summary"] = write_scores(self.rows, self.output_dir, about)
        draw_previews(
            [preview for _, preview in self._worst], self.output_dir / "worst_cases.png", self.names
        )

    def finish(self) -> None:
        """Leave the process with 3 if cases were left out: the last step of a bundle's ``finalize``."""
        if self.left_out:
            raise SystemExit(3)
