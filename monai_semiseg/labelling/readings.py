"""Readings of the images of a data set: what each is like, and its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from monai_semiseg.datasets.check import read_into
from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.label_maps import looks_like_labels
from monai_semiseg.errors import ConfigError, InputError
from monai_semiseg.images.volume import Volume
from monai_semiseg.inference.case_errors import CASE_ERRORS, reason_of
from monai_semiseg.labelling.features import Encoder, Floats, coarse_intensities


@dataclass
class Reading:
    """An image after it was read; there are no features if it has an error.

    Attributes:
        facts: size, channels and findings.
        intensities: of :func:`~monai_semiseg.labelling.features.coarse_intensities`.
        encoded: what an encoder makes of it; the intensities without one.
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
) -> list[Reading]:
    """Read the images of cases once, in threads, and compute their features.

    An image that cannot be read, or encoded, has an error, and the others go on. Label files are
    not read.

    Args:
        dataset: the data set.
        cases: some of its cases.
        encoder: maps images to features; it runs in the calling thread.
        workers: threads that read.
        progress: show a progress bar.

    Raises:
        ConfigError: If the encoder fails with every image, or returns more numbers for some.
    """
    readings: list[Reading] = []
    bar = tqdm(total=len(cases), desc="Reading", unit="scan", disable=None if progress else True)
    with bar, ThreadPoolExecutor(workers) as pool:
        for reading, image in _read_ahead(pool, dataset, cases, encoder is not None, workers):
            if encoder is not None and image is not None:
                _encode(reading, image, encoder, dataset)
            readings.append(reading)
            bar.update()
    if encoder is not None:
        _require_features(readings)
    return readings


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


def _read_ahead(
    pool: ThreadPoolExecutor,
    dataset: ScanDataset,
    cases: Sequence[DatasetCase],
    keep: bool,
    workers: int,
) -> Iterator[tuple[Reading, Volume | None]]:
    """Yield readings in order, with few images in memory at a time."""
    read = partial(_read, dataset=dataset, keep=keep)
    block = 2 * workers
    for start in range(0, len(cases), block):
        yield from pool.map(read, cases[start : start + block])


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
        reading.encoded = None if keep else intensities
    return reading, image if keep and reading.intensities is not None else None


def _encode(reading: Reading, image: Volume, encoder: Encoder, dataset: ScanDataset) -> None:
    files = [str(path) for path in reading.case.image_paths(dataset.root)]
    try:
        features = np.asarray(encoder(files, image), np.float32).ravel()
    except CASE_ERRORS as error:
        reading.facts.note("error", "E_ENCODER", reason_of(error))
        return
    if not np.isfinite(features).all():
        reading.facts.note("error", "E_ENCODER", "the features hold NaN or Inf")
    else:
        reading.encoded = features
