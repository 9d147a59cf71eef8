"""Accepted masks of a run as labels: a table of cases, which ``split`` and ``train`` take."""

from __future__ import annotations

from pathlib import Path

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.layout import Files, ListedCase, one_or_several
from monai_semiseg.datasets.table import write_cases
from monai_semiseg.labelling.decisions import accepted_masks
from monai_semiseg.labelling.review_cases import Review


def write_accepted(review: Review, path: Path) -> dict[str, str]:
    """Write a table of the images of a run, with the accepted masks as labels.

    Images whose mask is not accepted are there without a label.

    Args:
        review: the masks of the run.
        path: the table, which must not exist.

    Returns:
        Case -> why it, or its label, is left out.

    Raises:
        ConfigError: If the table exists, or the decisions cannot be read.
    """
    labels, left_out = accepted_masks(review.report)
    listed: list[ListedCase] = []
    for case in review.cases:
        if reason := _unlisted(case.image):
            left_out[case.name] = reason
        elif case.image is not None:
            label = labels.get(case.name)
            mask = None if label is None else str(label.absolute())
            listed.append(ListedCase(case.name, _images(case.image), mask))
    listed.sort(key=lambda one: one.id)
    names = review.report.about.get("channel_names") or ()
    write_cases(path, Path(), listed, names if len(names) > 1 else ())
    return left_out


def _unlisted(image: Case | None) -> str:
    """Return why an image cannot stand in a table; empty if it can."""
    if image is None:
        return "the image was not found"
    if image.archive is not None:
        return f"in {image.archive}; unpack the archive to train on its images"
    return "" if image.frame is None else "one frame of a DICOM cine; write the frames as files"


def _images(image: Case) -> dict[str, Files]:
    """Return channel -> files; the name is empty for one file or series of all channels."""
    files = [str(file.absolute()) for file in image.files]  # links keep their suffix
    if image.channel_names:
        return dict(zip(image.channel_names, files, strict=True))
    return {"": one_or_several(files)}
