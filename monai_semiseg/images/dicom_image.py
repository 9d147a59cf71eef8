"""Reading of a 2-D DICOM image: radiograph, ultrasound, photograph, one frame of a cine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_semiseg.errors import DtypeError, InputError, UnsupportedError
from monai_semiseg.images.dicom_header import PARSING_ERRORS, DicomHeader, values_unquoted
from monai_semiseg.images.dicom_pixels import (
    colour_values,
    inverted,
    modality_values,
    pixel_error,
    stored_values,
)
from monai_semiseg.images.grid import Grid, Unit
from monai_semiseg.images.volume import RGB, Volume, check_size, warn


def read_image(
    header: DicomHeader, dataset: pydicom.Dataset | None = None, frame: int | None = None
) -> Volume:
    """Read a 2-D image as ``(columns, rows, 1)``, or ``(columns, rows, 1, 3)`` if it has colours.

    Grey values are those after the modality's look-up table or rescale, and bright where the image
    is bright: MONOCHROME1 is inverted. A display window has no effect. Axis i runs to the right and
    axis j down, as on the screen.

    Args:
        header: header of the image.
        dataset: the object, if it was parsed already.
        frame: number of the frame of a cine, from 0.

    Raises:
        InputError: One of its subclasses, if the pixels cannot be read.
    """
    rows, columns = header.size
    grid = image_grid(header)
    check_size((columns, rows, header.samples), 4, header.path)
    if frame is not None and not 0 <= frame < header.frames:
        raise UnsupportedError(
            f"no frame {frame}", expected=f"0 to {header.frames - 1}", path=header.path
        )
    index = frame if header.frames > 1 else None
    with values_unquoted():
        try:
            dataset = dataset or pydicom.dcmread(header.path, force=True)
            pixels = _pixels(dataset, header, index)
        except InputError:
            raise
        except PARSING_ERRORS as error:
            raise pixel_error(dataset, header.path, error) from error
    colour = header.is_colour
    if pixels.shape != ((rows, columns, 3) if colour else (rows, columns)):
        raise DtypeError(
            f"pixels of shape {pixels.shape}",
            expected=f"{'a colour' if colour else 'a grey value'} for each of {(rows, columns)}",
            path=header.path,
        )
    return Volume(
        np.ascontiguousarray(np.swapaxes(pixels[np.newaxis], 0, 2)),
        grid.affine,
        {"format": "dicom", "modality": header.modality, "in_patient": False},
        channels=RGB if colour else (),
        unit=grid.unit,
    )


def image_grid(header: DicomHeader) -> Grid:
    """Return the grid of a 2-D image: pixel sizes, without a place in the patient.

    A size in the patient goes before one on the detector. Without either, lengths are in pixels.
    """
    rows, columns = header.size
    spacing, unit = _spacing(header)
    return Grid((columns, rows, 1), np.diag([spacing[1], spacing[0], 1.0, 1.0]), unit)


def _pixels(
    dataset: pydicom.Dataset, header: DicomHeader, frame: int | None
) -> NDArray[np.generic]:
    if header.is_colour:
        colours = colour_values(dataset, frame)
        return colours.astype(np.float32) if colours.dtype.itemsize > 2 else colours
    values = modality_values(stored_values(dataset, frame), dataset)
    return inverted(values, dataset) if header.photometric == "MONOCHROME1" else values


def _spacing(header: DicomHeader) -> tuple[Sequence[float], Unit]:
    in_patient = header.spacing if _is_size(header.spacing) else ()
    on_detector = header.detector_spacing if _is_size(header.detector_spacing) else ()
    if in_patient:
        if on_detector and not np.allclose(in_patient, on_detector, rtol=1e-3):
            note = f"not ImagerPixelSpacing {on_detector[0]:g} mm"
            warn(header.path, "W_SPACING", f"PixelSpacing {in_patient[0]:g} mm is used, {note}")
        return in_patient, "mm"
    if on_detector:
        note = "the size on the detector, larger than in the patient"
        warn(header.path, "W_SPACING", f"ImagerPixelSpacing {on_detector[0]:g} mm is used: {note}")
        return on_detector, "mm"
    return (1.0, 1.0), "px"


def _is_size(spacing: Sequence[float]) -> bool:
    return len(spacing) == 2 and bool(np.isfinite(spacing).all()) and min(spacing) > 0
