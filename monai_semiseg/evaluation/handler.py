"""Handler of the evaluate workflow: score every case on its own grid, write tables at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.datalist import declared_labels, load_datalist
from monai_semiseg.datasets.label_sections import known_label_scans
from monai_semiseg.datasets.label_values import (
    background_of,
    class_names,
    foreground_of,
    in_file_numbers,
    matched_values,
)
from monai_semiseg.errors import ConfigError, GeometryError
from monai_semiseg.evaluation.case_ids import CaseIds
from monai_semiseg.evaluation.case_scores import CaseScores, worst_of
from monai_semiseg.evaluation.cases import FailedCase, failed_cases
from monai_semiseg.evaluation.metrics import Scale, score_case
from monai_semiseg.evaluation.summary import ScoreRow, write_scores
from monai_semiseg.export.preview import Preview, draw_previews
from monai_semiseg.images.grid import unit_of
from monai_semiseg.images.volume import spatial_dims_of
from monai_semiseg.transforms.grids import on_image_grid


class CaseMetrics:
    """MONAI handler that scores label maps and writes tables and a picture of the worst cases.

    The evaluator's output holds the label maps ``pred`` and ``label`` on the scan's own grid; its
    batch holds the scan as it was read under ``native``, for the picture.

    Voxels of label -1 (``ignore``) are background in both maps, so they count in no score; every
    row says their share of the scan. A case with no other voxels is not scored, but named under
    ``nothing_known``.

    Distances are in mm, or in pixels if the images have no pixel size; then the columns say so. A
    case of another unit than the first one, or of other dimensions, fails by name.

    A label is resampled onto the prediction's grid by its affine, or refused. Cases that failed
    (:class:`~monai_semiseg.evaluation.cases.CaseDataset`) are named under ``failed``. Writes
    ``metrics.csv``, ``metrics.json`` and ``worst_cases.png`` when the evaluator has seen all cases.

    Args:
        output_dir: folder of the tables.
        label_names: number in the label files (as text, as JSON has it) -> name.
        show: number of worst cases in the picture.
        about: facts to keep in ``metrics.json`` (datalist, weights, ...).
        label_values: number in the label files of every class of ``pred``; None if classes are the
            numbers.
        datalist: split with the labels that the training scans hold, the names of others, and the
            groups (patients) of cases, which intervals are over.
        dataset_dir: the folder that the datalist's paths are relative to; cases of the same name
            are told apart by it, and groups found.

    A label that the network has no class for, or that no training scan holds, is scored wherever a
    reference holds it, and reported as never trained.

    Raises:
        ConfigError: If names and numbers of labels do not match.
    """

    def __init__(
        self,
        output_dir: str,
        label_names: dict[str, str],
        show: int = 4,
        about: dict[str, Any] | None = None,
        label_values: Sequence[int] | None = None,
        datalist: str | None = None,
        dataset_dir: str | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.show = show
        self.about = about or {}
        names = class_names(label_names)
        self.values = matched_values(label_values, names)
        content = {} if datalist is None else load_datalist(datalist)
        self.ids = CaseIds(content, dataset_dir)
        self.background = background_of(names)
        self.names = foreground_of(names)
        self.classes = set(self.names)
        self.other_names = declared_labels(content)
        trained = known_label_scans(content).get("training")
        self.untrained = self.classes - set(trained) if trained else set()
        self.rows: list[ScoreRow] = []
        self.failed: list[FailedCase] = []
        self.nothing_known: list[str] = []
        self._worst: list[CaseScores] = []
        self._bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Score after every iteration, write at the end.

        Raises:
            ConfigError: If there is no scan to evaluate; an engine without data would end without
                an error, and write nothing.
        """
        loader = getattr(engine, "data_loader", None)
        if loader is not None and len(loader) == 0:
            raise ConfigError(
                "no scan to evaluate",
                expected="a section of the datalist that holds scans",
                remedy="name another section, or split with test scans",
            )
        for event, handler in self.handlers.items():
            engine.add_event_handler(event, handler)

    @property
    def handlers(self) -> dict[Events, Callable[[Engine], None]]:
        """Return what is called at each event."""
        return {
            Events.STARTED: self._start,
            Events.ITERATION_COMPLETED: self._score,
            Events.COMPLETED: self._write,
        }

    def _start(self, engine: Engine) -> None:
        self.begin(engine.state.epoch_length or 0)

    def begin(self, cases: int) -> None:
        """Forget the cases before, and show a bar."""
        self.rows = []
        self.failed = []
        self.nothing_known = []
        self._worst = []
        self._bar = tqdm(total=cases, desc="Evaluating", unit="scan", mininterval=1.0, smoothing=0)

    def _score(self, engine: Engine) -> None:
        for scored in self.scored(engine):
            self.add(scored)
        self.advance()

    def advance(self) -> None:
        """Move the bar by a case."""
        self._bar.update()

    def scored(self, engine: Engine) -> list[CaseScores | FailedCase]:
        """Return the scores of the cases that an engine has just seen."""
        if failed := failed_cases(engine.state.batch):
            return [replace(one, case=self.ids.name_of(one.case)) for one in failed]
        pairs = zip(engine.state.output, engine.state.batch, strict=True)
        return [self._scores_of(item, source) for item, source in pairs]

    def _scores_of(self, item: dict[str, Any], source: dict[str, Any]) -> CaseScores:
        path = str(item["label"].meta["filename_or_obj"])
        native = source["native"]
        meta = getattr(native, "meta", {})
        scale = _scale_of(item["pred"].shape[1:], meta)
        label = on_image_grid(item["label"], item["pred"])
        truth = _whole_numbers(label)
        case, group = self.ids.name_of(path), self.ids.group_of(path)
        ignored = truth < self.background
        if ignored.all():
            return CaseScores(case, path, scale)
        truth[ignored] = self.background
        pred = in_file_numbers(_whole_numbers(item["pred"]), self.values)
        pred[ignored] = self.background
        spacing = [float(s) for s in label.pixdim]
        others = self._others(truth)
        classes = sorted({*self.classes, *others})
        scores = score_case(pred, truth, spacing, classes, self.background, scale.unit)
        share = float(ignored.mean())
        names = {**self.names, **others}
        rows = tuple(
            ScoreRow(case, index, names[index], score, share, scale=scale, group=group)
            for index, score in scores.items()
        )
        mean = float(np.mean([score.dice for score in scores.values()]))
        image = _channels_last(np.asarray(native.cpu()))
        affine = np.asarray(label.affine.cpu(), dtype=np.float64)
        title = f"{case}: Dice {mean:.3f}"
        preview = Preview.of_image(title, image, pred, affine, meta, label=truth)
        return CaseScores(case, path, scale, rows, others, mean, preview)

    def add(self, scored: CaseScores | FailedCase) -> None:
        """Add a case; cases have to come in the order of the datalist."""
        if isinstance(scored, FailedCase):
            self.failed.append(scored)
        elif fault := self._other_scale(scored.scale, scored.path):
            self.failed.append(FailedCase(scored.case, fault.code, fault.reason))
        elif not scored.rows:
            self.nothing_known.append(scored.case)
        else:
            self.rows += scored.rows
            self.names.update(scored.others)
            self.untrained.update(scored.others)
            self._worst = worst_of([*self._worst, scored], self.show)

    def _other_scale(self, scale: Scale, path: str) -> GeometryError | None:
        """Return an error if a case cannot share a mean with the cases before it."""
        known = self.rows[0].scale if self.rows else scale
        if scale == known:
            return None
        return GeometryError(
            f"a {scale.spatial_dims}-D image with distances in {scale.unit}",
            expected=f"{known.spatial_dims}-D images with distances in {known.unit}, as the cases "
            "before: a mean cannot mix them",
            remedy="evaluate it in a separate dataset",
            path=path,
        )

    def _others(self, label: NDArray[np.int64]) -> dict[int, str]:
        """Return the labels of a reference that the network has no class for, with their names."""
        found = sorted(set(np.unique(label).tolist()) - {self.background, *self.classes})
        return {value: self.other_names.get(value, f"label_{value}") for value in found}

    def finish(self) -> None:
        """Name the failed cases on stderr and leave the process with 3 if there are any.

        The last step of the workflow's ``finalize``.
        """
        for failed in self.failed:
            sys.stderr.write(f"{failed.reason}\n")
        if self.failed:
            raise SystemExit(3)

    def _write(self, engine: Engine) -> None:
        engine.state.metrics["summary"] = self.write()

    def write(self) -> dict[str, Any]:
        """Write the tables and the picture of the cases so far; return the summary."""
        self._bar.close()
        about = dict(self.about)
        if self.untrained:
            about["never_trained"] = [self.names[value] for value in sorted(self.untrained)]
        if self.nothing_known:
            about["nothing_known"] = self.nothing_known
        summary = write_scores(self.rows, self.output_dir, about, self.failed)
        previews = [one.preview for one in self._worst if one.preview is not None]
        draw_previews(previews, self.output_dir / "worst_cases.png", self.names)
        return summary


def _whole_numbers(label_map: Any) -> NDArray[np.int64]:
    """Return a label map ``(1, i, j, k)`` as an array ``(i, j, k)``."""
    return np.asarray(label_map.as_tensor().cpu()[0].round(), dtype=np.int64)


def _scale_of(shape: Sequence[int], meta: Mapping[str, Any]) -> Scale:
    """Return what an image's scores are measured in, by its shape and its reader's metadata."""
    return Scale(spatial_dims_of(shape), unit_of(meta))


def _channels_last(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image ``(channels, i, j, k)`` as a preview takes it."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
