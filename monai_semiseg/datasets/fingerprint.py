"""What a dataset looks like in numbers: spacing, shapes, intensities, labels."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.check import whole_labels
from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.geometry_statistics import in_ras
from monai_semiseg.errors import ConfigError, InputError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import require_depth


@dataclass(frozen=True)
class Fingerprint:
    """A dataset's measurements; axes are right-anterior-superior, one row per scan.

    Attributes:
        modality: as the dataset declares it.
        spacings: voxel sizes in mm, shape ``(scans, 3)``.
        shapes: voxels, shape ``(scans, 3)``.
        intensity_percentiles: 0.5, 50 and 99.5 % over all voxels of a scan, shape ``(scans, 3)``.
        foreground_percentiles: 0.5, 50 and 99.5 % over labelled voxels of all scans; None without
            labels.
        labels: index -> name, background included.
        unread: scans that could not be read, with the reason.
    """

    modality: str
    spacings: NDArray[np.float64]
    shapes: NDArray[np.int64]
    intensity_percentiles: NDArray[np.float64]
    foreground_percentiles: tuple[float, float, float] | None
    labels: dict[int, str]
    unread: dict[str, str]


def measure(
    dataset: ScanDataset,
    datalist: dict[str, Any] | None = None,
    *,
    workers: int = 4,
    progress: bool = True,
) -> Fingerprint:
    """Measure a dataset.

    With a datalist, test and validation scans are left out, and labels are read of the labelled
    training scans
    only: nothing that a plan decides may come from held-back scans.

    Raises:
        ConfigError: If no scan can be read.
    """
    cases = dataset.cases if datalist is None else _training_cases(datalist)
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")
        jobs = pool.map(lambda case: _measure_case(case, dataset), cases)
        rows = list(
            tqdm(jobs, "Measuring", len(cases), disable=None if progress else True, unit="scan")
        )
    unread = {
        case.id: row.reason
        for case, row in zip(cases, rows, strict=True)
        if isinstance(row, InputError)
    }
    good = [row for row in rows if not isinstance(row, InputError)]
    if not good:
        case, reason = next(iter(unread.items()), ("", "there is none"))
        raise ConfigError(
            f"no scan can be read; {case}: {reason}" if case else "no scan",
            expected="at least one",
            remedy="run monai-semiseg check",
            path=dataset.root,
        )
    foreground = np.concatenate([row[3] for row in good])
    percentiles = (
        tuple(float(p) for p in np.percentile(foreground, (0.5, 50, 99.5)))
        if foreground.size
        else None
    )
    seen = sorted({0} | {int(value) for row in good for value in row[4]})
    return Fingerprint(
        modality=dataset.modality,
        spacings=np.array([row[0] for row in good]),
        shapes=np.array([row[1] for row in good]),
        intensity_percentiles=np.array([row[2] for row in good]),
        foreground_percentiles=percentiles,  # type: ignore[arg-type]
        labels=dataset.labels
        or {value: "background" if value == 0 else f"label_{value}" for value in seen},
        unread=unread,
    )


def _training_cases(datalist: dict[str, Any]) -> list[DatasetCase]:
    entries = [*datalist.get("training", []), *datalist.get("unlabeled", [])]
    return [DatasetCase(entry["image"], entry["image"], entry.get("label")) for entry in entries]


_Row = tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float32],
    NDArray[np.int64],
]


def _measure_case(case: DatasetCase, dataset: ScanDataset) -> _Row | InputError:
    try:
        image = read_scan(dataset.root / case.image)
        require_depth(image.array.shape, dataset.root / case.image)
        label = None if case.label is None else read_scan(dataset.root / case.label)
        values = (
            np.zeros(0, dtype=np.int64)
            if label is None
            else whole_labels(label, dataset.root / str(case.label))
        )
    except InputError as error:
        return error
    inside = np.zeros(0, dtype=np.float32)
    if values.shape == image.array.shape:
        inside = image.array[values > 0].astype(np.float32)[
            :: max(1, int((values > 0).sum() // 10_000))
        ]
    return (
        in_ras(image.spacing, image.affine),
        in_ras(image.array.shape, image.affine).astype(np.int64),
        np.percentile(image.array, (0.5, 50, 99.5)),
        inside,
        np.unique(values),
    )
