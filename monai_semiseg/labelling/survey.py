"""Survey of all scans before any is chosen: features, and what is set apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.kinds import common_dims, no_scan_error, note_other_channels
from monai_semiseg.labelling.features import Floats, reconstruction_errors, reduced
from monai_semiseg.labelling.readings import Reading
from monai_semiseg.labelling.set_apart import near_duplicates, outlier_reasons, unlike_reasons
from monai_semiseg.labelling.strategies import Pool


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that sums do not depend on how many there are."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@dataclass(frozen=True)
class Survey:
    """Hold what is known of all scans before any is chosen.

    Attributes:
        cases: id -> case, of all.
        pool: scans to choose from.
        labelled: labelled scans with features.
        apart: scan -> reason.
        duplicates: scan -> the scan that it is nearly the same as.
        unread: scans that could not be read or encoded.
        features: scan -> features, of all that have some.
    """

    cases: dict[str, DatasetCase]
    pool: Pool
    labelled: list[str]
    apart: dict[str, str]
    duplicates: dict[str, str]
    unread: list[str]
    features: dict[str, Floats]


@one_thread()
def take_stock(
    dataset: ScanDataset, readings: Sequence[Reading], labelled: Collection[str]
) -> Survey:
    """Set apart what is not to be chosen, and return the pool of the others.

    Args:
        dataset: the data set.
        readings: of the labelled scans and of those to choose from.
        labelled: ids of the labelled ones.

    Raises:
        ConfigError: If no scan is fit to be chosen.
        DimensionError: If some images are 2-D and others 3-D.
    """
    labelled = set(labelled)
    facts = [one.facts for one in readings]
    note_other_channels(dataset, facts)
    common_dims({one.image_file: one.shape for one in facts if one.shape}, dataset.root)
    unread = {one.case.id: one.errors for one in readings if one.errors}
    sound = [one for one in readings if one.case.id not in unread]
    if not sound:
        raise no_scan_error(dataset, unread, "no scan that can be chosen")
    ids = [one.case.id for one in sound]
    intensities = _stacked([one.intensities for one in sound])
    is_encoded = any(one.encoded is not None for one in sound)
    encoded = _stacked([one.encoded for one in sound]) if is_encoded else intensities
    features = reduced(encoded, standardise=is_encoded)
    unlike = {**outlier_reasons(ids, features), **unlike_reasons(sound, labelled)}
    apart = {name: reason for name, reason in unlike.items() if name not in labelled}
    fit = [n for n, name in enumerate(ids) if name not in apart]
    duplicates = near_duplicates([ids[n] for n in fit], intensities[fit], labelled)
    pool = _pool(
        [ids[n] for n in fit],
        reduced(encoded[fit], standardise=is_encoded),  # an outlier has no part in the components
        reconstruction_errors(intensities[fit]),
        {*duplicates, *labelled},
        labelled,
    )
    if not pool.ids:
        raise no_scan_error(dataset, {**apart, **unread}, "no scan that can be chosen")
    return Survey(
        {one.case.id: one.case for one in readings},
        pool,
        [name for name in ids if name in labelled],
        {**apart, **unread},
        duplicates,
        sorted(unread),
        dict(zip(ids, features, strict=True)),
    )


def _pool(
    ids: Sequence[str],
    features: Floats,
    difficulty: Floats,
    closed: Collection[str],
    labelled: Collection[str],
) -> Pool:
    """Return the pool of the scans that are not closed, beside the labelled ones."""
    kept = [n for n, name in enumerate(ids) if name not in closed]
    known = [n for n, name in enumerate(ids) if name in labelled]
    return Pool(tuple(ids[n] for n in kept), features[kept], features[known], difficulty[kept])


def _stacked(rows: Sequence[Floats | None]) -> Floats:
    found = [row for row in rows if row is not None]
    return np.stack(found)
