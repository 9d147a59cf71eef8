"""One kind of images in a data set: some, 2-D or 3-D, the same channels, one unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.errors import ConfigError, DimensionError
from monai_semiseg.images.grid import Unit
from monai_semiseg.images.volume import spatial_dims_of


def no_scan_error(dataset: ScanDataset, left_out: Mapping[str, str], found: str) -> ConfigError:
    """Return the error of a data set of which no scan is left, with one of the reasons.

    Args:
        dataset: the data set.
        left_out: case or file -> reason why it is left out; empty for a data set without scans.
        found: the first words.
    """
    case, reason = next(iter(left_out.items()), ("", ""))
    return ConfigError(
        f"{found}; {case}: {reason}" if case else "no scan",
        expected="at least one scan that can be read",
        remedy="run monai-semiseg check",
        path=dataset.root,
    )


def common_dims(shapes: Mapping[str, Sequence[int]], path: Path) -> int | None:
    """Return 2 if every image has one slice, 3 if none has; None without images.

    Args:
        shapes: image -> voxels along three axes.
        path: the data set, for the error.

    Raises:
        DimensionError: If there are both.
    """
    of: dict[int, list[str]] = {2: [], 3: []}
    for name, shape in shapes.items():
        of[spatial_dims_of(shape)].append(name)
    if of[2] and of[3]:
        raise DimensionError(
            f"{len(of[2])} images of one slice (2-D, such as {of[2][0]}) and {len(of[3])} of "
            f"several (3-D, such as {of[3][0]})",
            expected="2-D images alone, or 3-D scans alone",
            remedy="make two data sets of them, or name the cases of one kind in a table "
            "(monai-semiseg check DATASET --table cases.csv writes one)",
            path=path,
        )
    return next((dims for dims, names in of.items() if names), None)


def note_other_channels(dataset: ScanDataset, facts: Sequence[CaseFacts]) -> tuple[str, ...]:
    """Note images with other channels than the data set has, and return its channels.

    The channels of a file (red, green and blue; a fourth axis) are known when it is read. If nobody
    names them, they are those of most images.
    """
    read = [fact for fact in facts if fact.shape]
    names = dataset.channel_names
    if not names and read:
        counts = Counter(fact.channels for fact in read).most_common()
        names = max(counts, key=lambda row: (row[1], len(row[0])))[0]
    for fact in read:
        count = max(1, len(fact.channels))
        if count != max(1, len(names)):
            theirs = ", ".join(names) or "one channel"
            had = ", ".join(fact.channels) or "one channel"
            text = f"{fact.image_file} has {had}; the data set has {theirs}"
            fact.note("error", "E_CHANNELS", text)
    return tuple(names)


def common_unit(facts: Sequence[CaseFacts]) -> Unit | None:
    """Return the unit of lengths that all images share; None if they differ."""
    units = {fact.unit for fact in facts if fact.shape}
    return units.pop() if len(units) == 1 else None
