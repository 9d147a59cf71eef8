"""Checks of a request before any work: inputs with scans, and an output folder that can be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_semiseg.datasets.cases import FoundCases
from monai_semiseg.errors import ConfigError
from monai_semiseg.inference.run_manifest import RunManifest


def check_output_folder(folder: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse an output folder that lies inside an input folder or cannot be written.

    Raises:
        ConfigError: If it is such a folder.
    """
    target = folder.resolve()
    for source in map(Path, inputs):
        if source.is_dir() and target.is_relative_to(source.resolve()):
            raise ConfigError(
                "lies inside the input",
                expected="an output folder outside the input folders",
                remedy=f"--output {source.resolve().name}_masks",
                path=folder,
            )
    existing = next(parent for parent in (target, *target.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(
            "cannot be written",
            expected="a folder that can be written",
            remedy="choose another output folder",
            path=folder,
        )


def refuse_other_run(folder: Path, manifest: RunManifest) -> None:
    """Refuse an output folder with the results of a run.

    Raises:
        ConfigError: If it holds a report or a manifest.
    """
    if (folder / "report.json").exists() or manifest.started:
        raise ConfigError(
            "holds the results of another run",
            expected="a new or empty folder",
            remedy="choose another folder, or use --overwrite",
            path=folder,
        )


def refuse_masks(masks: Iterable[Path]) -> None:
    """Refuse masks that exist.

    Raises:
        ConfigError: If one does.
    """
    for mask in masks:
        if mask.exists():
            raise ConfigError(
                "exists",
                expected="an output folder without masks of these scans",
                remedy="choose another folder, or use --overwrite",
                path=mask,
            )


def check_found(found: FoundCases, inputs: Sequence[str | Path]) -> None:
    """Refuse inputs without a scan.

    Raises:
        ConfigError: If there is none; it counts the other files.
    """
    if not found.cases:
        raise ConfigError(
            f"no scan found {_skipped_files(found)}",
            expected="NIfTI, NRRD, MetaImage, MGH, DICOM, PNG, JPEG, TIFF or BMP files",
            path=Path(inputs[0]),
        )


def _skipped_files(found: FoundCases) -> str:
    """Return the number of files that are no scans, by reason."""
    reasons = Counter(skipped.reason for skipped in found.skipped).most_common()
    if not reasons:
        return "(there is no file)"
    listed = ", ".join(f"{count} x {reason}" for reason, count in reasons[:5])
    more = sum(count for _, count in reasons[5:])
    others = f", {more} others" if more else ""
    return f"among {len(found.skipped)} files: {listed}{others}"


def takes_each_frame(frames: str | None) -> bool:
    """Return whether every frame of a DICOM cine is an image.

    Raises:
        ConfigError: If ``frames`` is neither ``each`` nor None.
    """
    if frames in (None, "each"):
        return frames == "each"
    raise ConfigError(f"frames {frames!r}", expected="each, or null")
