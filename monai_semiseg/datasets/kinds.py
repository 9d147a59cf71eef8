"""One kind of images in a data set: some, 2-D or 3-D, the same channels, one unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.dataset import ScanDataset
from monai_semiseg.errors import ChannelError, ConfigError, DimensionError, GeometryError
from monai_semiseg.images.grid import Unit
from monai_semiseg.images.volume import RGB, spatial_dims_of


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
            if set(names) == set(RGB):
                text += "; convert it to RGB, or leave it out"
            fact.note("error", "E_CHANNELS", text)
    return tuple(names)


def common_unit(units: Mapping[str, Unit], path: Path) -> Unit | None:
    """Return the unit of lengths that all images share; None without images.

    Args:
        units: image -> unit.
        path: the data set, for the error.

    Raises:
        GeometryError: If some images have a pixel size in mm and others have none.
    """
    of: dict[Unit, list[str]] = {"mm": [], "px": []}
    for name, unit in units.items():
        of[unit].append(name)
    if of["mm"] and of["px"]:
        raise GeometryError(
            f"{len(of['mm'])} images with a pixel size in mm (such as {of['mm'][0]}) and "
            f"{len(of['px'])} without (such as {of['px'][0]})",
            expected="all with a pixel size, or all without",
            remedy="write the pixel size into the files that lack it, or make two data sets",
            path=path,
        )
    return next((unit for unit, names in of.items() if names), None)


def require_same_channels(channels: Mapping[str, Sequence[str]], path: Path) -> None:
    """Require one number of channels of all images.

    Args:
        channels: image -> names of its channels.
        path: the data set, for the error.

    Raises:
        ChannelError: If the images have different numbers of channels.
    """
    of: dict[int, list[str]] = {}
    for name, names in channels.items():
        of.setdefault(len(names), []).append(name)
    if len(of) > 1:
        counts = [
            f"{len(images)} of {count} (such as {images[0]})"
            for count, images in sorted(of.items())
        ]
        raise ChannelError(
            f"images with different numbers of channels: {', '.join(counts)}",
            expected="the same channels in all images",
            remedy="run monai-semiseg check, which names every image, and split the folder",
            path=path,
        )
