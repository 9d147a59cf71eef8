"""DICOM SEG as a label map: segment numbers on the grid of the segmented slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import SegmentationStorage

from monai_semiseg.errors import DicomError, GeometryError, LabelError
from monai_semiseg.images.dicom_header import (
    PARSING_ERRORS,
    begins_as_dicom,
    read_header,
    values_unquoted,
)
from monai_semiseg.images.volume import LPS_TO_RAS, PARTIAL_FORMAT, Volume, check_affine

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than pydicom's list


@dataclass(frozen=True)
class Segments:
    """Hold what a DICOM SEG says about itself.

    Attributes:
        series_uid: series that it refers to, or empty.
        instances: images that it refers to.
        names: number of each segment -> its name.
    """

    series_uid: str
    instances: tuple[str, ...]
    names: dict[int, str]


def is_segmentation(sop_class: str) -> bool:
    """Return True if a SOP class is that of a DICOM SEG."""
    return sop_class in (SegmentationStorage, _LABEL_MAP_STORAGE)


def is_segmentation_file(path: Path) -> bool:
    """Return True if a file is a DICOM SEG."""
    if not path.is_file() or not begins_as_dicom(path):
        return False
    header = read_header(path)
    return header is not None and is_segmentation(header.sop_class)


def read_segments(path: Path) -> Segments:
    """Read the segments of a DICOM SEG, and what it refers to, without its pixels.

    Raises:
        DicomError: If its header cannot be read.
    """
    try:
        with values_unquoted():
            found = pydicom.dcmread(path, stop_before_pixels=True)
            series = (found.get("ReferencedSeriesSequence") or [pydicom.Dataset()])[0]
            images = series.get("ReferencedInstanceSequence") or []
            return Segments(
                str(series.get("SeriesInstanceUID", "")),
                tuple(str(image.ReferencedSOPInstanceUID) for image in images),
                {
                    int(segment.SegmentNumber): str(segment.get("SegmentLabel", ""))
                    for segment in found.get("SegmentSequence", [])
                    if int(segment.SegmentNumber) > 0
                },
            )
    except PARSING_ERRORS as error:
        raise _damaged(path, error) from error


def read_segmentation(path: Path) -> Volume:
    """Read the segment numbers of a DICOM SEG; 0 is outside of all segments.

    A SEG may hold the slices with something in them alone. The volume then covers no more, and
    :attr:`~monai_semiseg.images.grid.Grid.partial` says that the rest of the image is 0.

    Raises:
        DicomError: If it is damaged.
        GeometryError: If its frames are no regular volume.
        LabelError: If segments overlap, or are fractions.
    """
    import highdicom

    try:
        with values_unquoted():
            segmentation = highdicom.seg.segread(path)
    except PARSING_ERRORS as error:
        raise _damaged(path, error) from error
    if segmentation.segmentation_type == highdicom.seg.SegmentationTypeValues.FRACTIONAL:
        raise LabelError(
            "a fractional DICOM SEG", expected="segments of type BINARY or LABELMAP", path=path
        )
    try:
        with values_unquoted():
            volume = segmentation.get_volume(combine_segments=True)
    except PARSING_ERRORS as error:
        if "overlap" in str(error).lower():
            raise LabelError(
                "segments that overlap", expected="at most one segment in a voxel", path=path
            ) from error
        raise GeometryError(
            f"frames that do not form a volume ({str(error).splitlines()[0]})",
            expected="a DICOM SEG of parallel, evenly spaced slices",
            path=path,
        ) from error
    affine = check_affine(LPS_TO_RAS @ volume.affine, path)
    array = np.ascontiguousarray(volume.array.astype(np.uint16))
    return Volume(array, affine, {"format": PARTIAL_FORMAT, "modality": "SEG"})


def _damaged(path: Path, error: BaseException) -> DicomError:
    return DicomError(
        f"a DICOM SEG that cannot be read ({type(error).__name__})",
        expected="a whole file",
        remedy="export the segmentation again",
        path=path,
    )
