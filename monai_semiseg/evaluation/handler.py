"""The evaluate workflow's handler: every case scored in its own geometry, tables written at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from tqdm import tqdm

from monai_semiseg.datasets.dataset import case_stem
from monai_semiseg.errors import ConfigError
from monai_semiseg.evaluation.cases import FailedCase, failed_cases
from monai_semiseg.evaluation.metrics import score_case
from monai_semiseg.evaluation.summary import ScoreRow, write_scores
from monai_semiseg.export.preview import Preview, draw_previews
from monai_semiseg.transforms.grids import on_image_grid


class CaseMetrics:
    """MONAI handler for an evaluator whose output holds label maps ``pred`` and ``label`` in the scan's own grid.

    The batch holds the scan as it was read under ``native``, for the pictures.

    A label is brought onto the prediction's grid by its affine, or refused. Cases that failed
    (:class:`~monai_semiseg.evaluation.cases.CaseDataset`) are named under ``failed``. Writes
    ``metrics.csv``, ``metrics.json`` and ``worst_cases.png`` when the evaluator has seen all cases.

    Args:
        output_dir: where the tables go.
        label_names: index (as text, as JSON has it) -> name.
        show: how many of the worst cases are pictured.
        about: facts to keep in ``metrics.json`` (datalist, weights, ...).
    """

    def __init__(
        self,
        output_dir: str,
        label_names: dict[str, str],
        show: int = 4,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.output_dir, self.show, self.about = Path(output_dir), show, about or {}
        self.names = {int(index): name for index, name in label_names.items() if int(index) > 0}
        self.rows: list[ScoreRow] = []
        self.failed: list[FailedCase] = []
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
        self.rows, self.failed, self._worst = [], [], []
        self._bar = tqdm(
            total=engine.state.epoch_length, desc="Evaluating", unit="scan", mininterval=1.0
        )

    def _score(self, engine: Engine) -> None:
        if failed := failed_cases(engine.state.batch):
            self.failed += failed
        else:
            for item, source in zip(engine.state.output, engine.state.batch, strict=True):
                self._score_item(item, source)
        self._bar.update()

    def _score_item(self, item: dict[str, Any], source: dict[str, Any]) -> None:
        path = str(item["label"].meta["filename_or_obj"])
        label = on_image_grid(item["label"], item["pred"])
        pred, truth = (
            np.asarray(found.as_tensor().cpu())[0].round().astype(np.int64)
            for found in (item["pred"], label)
        )
        spacing = [float(s) for s in label.pixdim]
        scores = score_case(pred, truth, spacing, sorted(self.names))
        case = case_stem(Path(path).name)
        self.rows += [
            ScoreRow(case, index, self.names[index], score) for index, score in scores.items()
        ]
        mean = float(np.mean([score.dice for score in scores.values()]))
        image = np.asarray(source["native"].cpu())[0]
        preview = Preview(
            f"{case}: Dice {mean:.3f}", image, pred.astype(np.uint8), tuple(spacing), truth
        )
        self._worst = sorted([*self._worst, (mean, preview)], key=lambda pair: pair[0])[: self.show]

    def finish(self) -> None:
        """Name the failed cases on stderr and leave the process with 3 if there are any.

        The last step of the workflow's ``finalize``.
        """
        for failed in self.failed:
            sys.stderr.write(f"{failed.reason}\n")
        if self.failed:
            raise SystemExit(3)

    def _write(self, engine: Engine) -> None:
        self._bar.close()
        engine.state.metrics["summary"] = write_scores(
            self.rows, self.output_dir, self.about, self.failed
        )
        draw_previews(
            [preview for _, preview in self._worst], self.output_dir / "worst_cases.png", self.names
        )
