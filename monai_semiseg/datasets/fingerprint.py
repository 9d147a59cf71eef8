"""Fingerprint of a dataset: spacings, shapes, intensities and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset, case_of
from monai_semiseg.datasets.geometry_statistics import in_ras, voxel_size
from monai_semiseg.datasets.kinds import (
    common_dims,
    common_unit,
    no_scan_error,
    require_same_channels,
)
from monai_semiseg.datasets.label_checks import (
    count_values,
    invalid_label_files,
    require_values,
    split_ignored,
)
from monai_semiseg.datasets.label_colours import palette_fault
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.datasets.label_sections import scans_per_label
from monai_semiseg.datasets.label_values import (
    background_of,
    class_names,
    foreground_of,
    ignore_value,
    names_of,
)
from monai_semiseg.datasets.layout import files_text
from monai_semiseg.datasets.modality import ScanKind, looks_like_hounsfield
from monai_semiseg.errors import InputError, LabelError
from monai_semiseg.images.grid import Unit, in_ras_order, onto_grid
from monai_semiseg.images.volume import RGB, collect_warnings


@dataclass(frozen=True)
class Fingerprint:
    """Measurements of a dataset; axes are right, anterior, superior, with one row per image.

    The axis of one voxel of 2-D images is left out.

    Attributes:
        modality: declared modality of the dataset.
        spacings: voxel sizes in ``unit``, shape ``(images, spatial_dims)``.
        shapes: voxels, shape ``(images, spatial_dims)``.
        intensity_percentiles: 0.5, 50 and 99.5 % over all voxels of an image, shape ``(images,
            channels, 3)``.
        foreground_percentiles: for each channel 0.5, 50 and 99.5 % over labelled voxels of all
            images; None without labels.
        labels: number in the label files -> name, background included, in ascending order.
        unread: scan -> reason, for scans that cannot be used, or whose label cannot.
        notes: warnings of the readers, each text once.
        label_scans: number in the label files -> labelled scans that show it.
        sides: whether left and right are different classes, if the dataset declares it.
        scans: kind of every scan, from which the modality is decided.
        volumes_ml: label's name -> minimum and maximum volume in mL over the labelled scans without
            voxels to ignore; of 2-D images the area in ``unit`` squared.
        channel_names: names of the channels, in the order of the images.
        unit: ``mm``, or ``px`` if the files say no pixel size.
        stack_pages: whether the pages of a TIFF are the slices of a 3-D scan.
        mean: mean over all pixels and channels of colour images.
        std: standard deviation likewise.
    """

    modality: str
    spacings: NDArray[np.float64]
    shapes: NDArray[np.int64]
    intensity_percentiles: NDArray[np.float64]
    foreground_percentiles: tuple[tuple[float, float, float], ...] | None
    labels: dict[int, str]
    unread: dict[str, str]
    notes: tuple[str, ...] = ()
    label_scans: dict[int, int] = field(default_factory=dict)
    sides: bool | None = None
    scans: tuple[ScanKind, ...] = ()
    volumes_ml: dict[str, tuple[float, float]] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ("image",)
    unit: Unit = "mm"
    stack_pages: bool = False
    mean: float = 0.0
    std: float = 1.0

    @property
    def spatial_dims(self) -> int:
        """Return 2 for 2-D images, 3 for scans."""
        return int(self.shapes.shape[1])


def extract_fingerprint(
    dataset: ScanDataset,
    datalist: dict[str, Any] | None = None,
    *,
    workers: int = 4,
    progress: bool = True,
) -> Fingerprint:
    """Measure a dataset.

    With a datalist, test and validation scans are left out, and only labels of training scans are
    read: a plan must not depend on held-out scans.

    Raises:
        ConfigError: If no scan can be read.
        DimensionError: If some images have one slice and others several, or other channels.
        GeometryError: If some images have a pixel size and others have none.
        LabelError: If the labels cannot be trained, see
            :func:`~monai_semiseg.datasets.label_checks.invalid_label_files`.
    """
    cases = dataset.cases if datalist is None else _training_cases(datalist)
    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda case: _measure_case(case, dataset), cases)
        rows = list(
            tqdm(jobs, "Measuring", len(cases), disable=None if progress else True, unit="scan")
        )
    _mark_invalid_labels(cases, rows, dataset)
    unread = {
        case.id: row.fault.reason
        for case, row in zip(cases, rows, strict=True)
        if row.fault is not None
    }
    good = [row for row in rows if row.fault is None]
    if not good:
        raise no_scan_error(dataset, unread, "no scan can be read")
    named = zip(cases, rows, strict=True)
    _require_one_kind({case.id: row for case, row in named if row.fault is None}, dataset)
    notes = dict.fromkeys(chain.from_iterable(row.notes for row in rows))
    return replace(_aggregate(good, dataset), unread=unread, notes=tuple(notes))


def _require_one_kind(rows: Mapping[str, _Measures], dataset: ScanDataset) -> None:
    """Require one number of dimensions and of channels, and one unit."""
    common_dims({name: row.shape.tolist() for name, row in rows.items()}, dataset.root)
    require_same_channels({name: row.channels for name, row in rows.items()}, dataset.root)
    common_unit({name: row.unit for name, row in rows.items()}, dataset.root)


def _aggregate(good: Sequence[_Measures], dataset: ScanDataset) -> Fingerprint:
    scans = scans_per_label(row.labels for row in good)
    labels = class_names(names_of(dataset.labels, list(scans)))
    # Of 2-D images the axis of one voxel, which may differ between files, is left out.
    kept = [row.shape > 1 if row.shape.min() == 1 else np.full(3, True) for row in good]
    mean, square = np.mean([row.moments for row in good], axis=0)
    return Fingerprint(
        modality=dataset.modality,
        spacings=np.array([row.spacing[axes] for row, axes in zip(good, kept, strict=True)]),
        shapes=np.array([row.shape[axes] for row, axes in zip(good, kept, strict=True)]),
        intensity_percentiles=np.array([row.percentiles for row in good]),
        foreground_percentiles=_percentiles(np.concatenate([row.foreground for row in good])),
        labels=labels,
        unread={},
        label_scans=scans,
        sides=dataset.sides,
        scans=tuple(row.kind for row in good),
        volumes_ml=_volume_ranges(
            [row.volumes for row in good if row.labels and not row.ignored], labels
        ),
        channel_names=good[0].channels,
        unit=good[0].unit,
        stack_pages=dataset.stack_pages,
        mean=float(mean),
        std=float(np.sqrt(max(square - mean**2, 1e-12))),
    )


def _percentiles(voxels: NDArray[np.float32]) -> tuple[tuple[float, float, float], ...] | None:
    """Return percentiles of every channel of voxels ``(n, channels)``."""
    if not voxels.size:
        return None
    ends = np.percentile(voxels, (0.5, 50, 99.5), axis=0)
    return tuple((float(low), float(median), float(high)) for low, median, high in ends.T)


def _volume_ranges(
    volumes: Sequence[Mapping[int, float]], labels: Mapping[int, str]
) -> dict[str, tuple[float, float]]:
    """Return name -> minimum and maximum volume; a scan without the label counts as 0."""
    if not volumes:
        return {}
    found = {
        name: [scan.get(value, 0.0) for scan in volumes]
        for value, name in foreground_of(labels).items()
    }
    return {name: (min(values), max(values)) for name, values in found.items()}


def _mark_invalid_labels(
    cases: list[DatasetCase], rows: list[_Measures], dataset: ScanDataset
) -> None:
    """Set the fault of scans whose label has values that cannot be classes.

    Raises:
        LabelError: If no valid label is left.
    """
    labelled = [(files_text(c.label), row) for c, row in zip(cases, rows, strict=True) if c.label]
    if fault := palette_fault({name: row.palette for name, row in labelled}, dataset.root):
        raise fault
    counts = {name: row.labels for name, row in labelled if row.fault is None}
    refused = [row.fault for _, row in labelled if isinstance(row.fault, LabelError)]
    if refused and not counts:
        raise refused[0]
    invalid = invalid_label_files(dataset.labels, counts, dataset.root)
    for name, row in labelled:
        row.fault = invalid.get(name, row.fault)


def _training_cases(datalist: dict[str, Any]) -> list[DatasetCase]:
    entries = [*datalist.get("training", []), *datalist.get("unlabeled", [])]
    return [case_of(entry) for entry in entries]


@dataclass
class _Measures:
    """Measurements of one scan; it is left out if there is a ``fault``."""

    notes: list[str] = field(default_factory=list)
    fault: InputError | None = None
    spacing: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    shape: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, dtype=np.int64))
    percentiles: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 3)))
    foreground: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 1), dtype=np.float32)
    )
    channels: tuple[str, ...] = ("image",)
    unit: Unit = "mm"
    moments: tuple[float, float] = (0.0, 0.0)  # mean, and mean of the squares
    labels: dict[int, int] = field(default_factory=dict)
    palette: dict[int, str] = field(default_factory=dict)
    ignored: int = 0
    volumes: dict[int, float] = field(default_factory=dict)
    kind: ScanKind = field(default_factory=lambda: ScanKind("", False))


def _measure_case(case: DatasetCase, dataset: ScanDataset) -> _Measures:
    measures = _Measures()
    with collect_warnings() as measures.notes:
        try:
            _measure_into(measures, case, dataset)
        except InputError as error:
            measures.fault = error
    return measures


def _measure_into(measures: _Measures, case: DatasetCase, dataset: ScanDataset) -> None:
    image = dataset.read_image(case)
    voxels = image.array if image.channels else image.array[..., None]
    measures.channels = dataset.channel_names or image.channels or ("image",)
    measures.unit = image.unit
    measures.spacing = in_ras(image.spacing, image.affine)
    measures.shape = in_ras(image.shape, image.affine).astype(np.int64)
    measures.percentiles = np.array(
        [np.percentile(voxels[..., n], (0.5, 50, 99.5)) for n in range(voxels.shape[-1])]
    )
    if image.channels == RGB:
        measures.moments = _moments(voxels)
    modality = str(image.meta.get("modality", ""))
    measures.kind = ScanKind(modality, looks_like_hounsfield(voxels[..., 0]))
    measures.foreground = np.zeros((0, voxels.shape[-1]), dtype=np.float32)
    if case.label is None:
        return
    paths = label_paths(dataset.root, case.label)
    label = read_label(paths, dataset.label_rule)
    values = onto_grid(label.array, label.grid, image.grid, paths[0])
    measures.labels = count_values(values)
    measures.palette = label.meta.get("palette", {})
    require_values(measures.labels, dataset.labels, paths[0])
    measures.labels, measures.ignored = split_ignored(measures.labels, dataset.labels)
    size = voxel_size(image)
    measures.volumes = {value: count * size for value, count in measures.labels.items()}
    voxels, values = (in_ras_order(array, image.affine) for array in (voxels, values))
    foreground = values != background_of(dataset.labels)
    if measures.ignored:
        foreground &= values != ignore_value(dataset.labels)
    inside = voxels[foreground].astype(np.float32)
    measures.foreground = inside[:: max(1, len(inside) // 10_000)]


def _moments(voxels: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of the voxels and of their squares."""
    return float(voxels.mean(dtype=np.float64)), float(np.mean(voxels.astype(np.float64) ** 2))
