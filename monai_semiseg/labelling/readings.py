"""Readings of the images of a data set: what each is like, and its features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from monai_semiseg.bundles.command_line import begin_command
from monai_semiseg.datasets.check import read_into
from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_maps import looks_like_labels
from monai_semiseg.errors import ConfigError, InputError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.run import Done, run_in_order
from monai_semiseg.executors.work import Work
from monai_semiseg.images.volume import Volume
from monai_semiseg.inference.case_errors import CASE_ERRORS, reason_of
from monai_semiseg.labelling.features import Encode, Encoder, Floats, coarse_intensities


@dataclass
class Reading:
    """An image after it was read; there are no features if it has an error.

    Attributes:
        facts: size, channels and findings.
        intensities: of :func:`~monai_semiseg.labelling.features.coarse_intensities`.
        encoded: what an encoder makes of it; None without one.
    """

    facts: CaseFacts
    intensities: Floats | None = None
    encoded: Floats | None = None

    @property
    def case(self) -> DatasetCase:
        """Return the case."""
        return self.facts.case

    @property
    def errors(self) -> str:
        """Return the errors in one line; empty if the image is sound."""
        found = (finding.message for finding in self.facts.findings if finding.level == "error")
        return "; ".join(found)


def read_all(
    dataset: ScanDataset,
    cases: Sequence[DatasetCase],
    encoder: Encoder | None = None,
    *,
    workers: int = 4,
    progress: bool = True,
    executor: ExecutorChoice | None = None,
    logs: Path | None = None,
) -> list[Reading]:
    """Read the images of cases once and compute their features.

    An image that cannot be read, or encoded, has an error, and the others go on. Label files are
    not read.

    Args:
        dataset: the data set.
        cases: some of its cases.
        encoder: maps images to features; it runs in the calling thread.
        workers: threads that read, in this process.
        progress: show a progress bar.
        executor: what reads the images, in place of threads of this process.
        logs: folder for the workers' logs; has to be named with an executor.

    Raises:
        ConfigError: If the encoder or the executor cannot be opened, or the encoder fails with
            every image or returns more numbers for some.
    """
    bar = partial(
        tqdm, total=len(cases), desc="Reading", unit="scan", disable=None if progress else True
    )
    encode = None if encoder is None else encoder.open()  # refused before a worker starts
    if executor is None or logs is None:
        readings = list(bar(_readings(cases, dataset, encode, workers)))
    else:
        work = ReadingWork(replace(dataset, cases=[], problems={}), encoder)
        readings = [_reading_of(end) for end in run_in_order(executor, work, cases, logs, bar)]
    if encoder is not None:
        _require_features(readings)
    return readings


@dataclass(frozen=True)
class ReadingWork(Work[DatasetCase, Reading]):
    """Reading of single images; one is read beside the encoding of another.

    Attributes:
        dataset: that they are from; it need not list them.
        encoder: of all workers.
    """

    dataset: ScanDataset
    encoder: Encoder | None = None

    @property
    def device(self) -> str:
        """Return ``auto`` if the workers of a machine may share its GPUs out."""
        return "cpu" if self.encoder is None else self.encoder.device

    def open(self) -> Callable[[Sequence[DatasetCase]], Iterator[Reading]]:
        """Open the encoder."""
        begin_command()
        encode = None if self.encoder is None else self.encoder.open()
        return partial(_readings, dataset=self.dataset, encode=encode, threads=1)


def _reading_of(end: Done[DatasetCase, Reading]) -> Reading:
    """Return what was read; of a case whose workers were lost, that."""
    if end.error is None:
        return end.value()
    reading = Reading(CaseFacts(end.item))
    reading.facts.note("error", end.error.code, end.error.reason)
    return reading


def _require_features(readings: Sequence[Reading]) -> None:
    """Require that an encoder returns equally many numbers for all images that it takes."""
    read = [one for one in readings if one.intensities is not None]
    by_count = {one.encoded.size: one.case.id for one in read if one.encoded is not None}
    if read and not by_count:
        raise ConfigError(
            f"no image has features; {read[0].case.id}: {read[0].errors}",
            expected="weights or an encoder for such images",
        )
    if len(by_count) > 1:
        some = ", ".join(f"{count} of {name}" for count, name in sorted(by_count.items())[:2])
        raise ConfigError(
            f"the encoder returns {some}",
            expected="equally many numbers for every image",
            remedy="resize the image in the encoder, or return (1, n, ...) to be averaged",
        )


def _readings(
    cases: Sequence[DatasetCase], dataset: ScanDataset, encode: Encode | None, threads: int
) -> Iterator[Reading]:
    """Yield readings in order; the features are computed in this thread."""
    read = partial(_read, dataset=dataset, keep=encode is not None)
    block = 2 * threads  # few images in memory at a time
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(cases), block):
            for reading, image in pool.map(read, cases[start : start + block]):
                if encode is not None and image is not None:
                    _encode(reading, image, encode, dataset)
                yield reading


def _read(case: DatasetCase, dataset: ScanDataset, keep: bool) -> tuple[Reading, Volume | None]:
    reading = Reading(CaseFacts(case))
    try:
        image = read_into(reading.facts, dataset)
    except InputError as error:
        reading.facts.note("error", error.code, error.reason)
        return reading, None
    intensities = coarse_intensities(image)
    if not intensities.any():
        reading.facts.note("error", "W_CONSTANT", "the image shows nothing: no contrast")
    elif looks_like_labels(image.array):
        reading.facts.note("error", "W_LABEL_LIKE", "few whole numbers: a label map, no image")
    else:
        reading.intensities = intensities
    return reading, image if keep and reading.intensities is not None else None


def _encode(reading: Reading, image: Volume, encode: Encode, dataset: ScanDataset) -> None:
    files = [str(path) for path in reading.case.image_paths(dataset.root)]
    try:
        features = np.asarray(encode(files, image), np.float32).ravel()
    except CASE_ERRORS as error:
        reading.facts.note("error", "E_ENCODER", reason_of(error))
        return
    if not np.isfinite(features).all():
        reading.facts.note("error", "E_ENCODER", "the features hold NaN or Inf")
    else:
        reading.encoded = features
