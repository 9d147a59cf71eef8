"""Writing of the output files of a case, in the kind of file that came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.errors import ConfigError, OutputError, UnsupportedError
from monai_semiseg.export.anatomy_codes import without_code
from monai_semiseg.export.nifti_mask import NiftiSpace, write_map, write_mask
from monai_semiseg.export.output_paths import CasePaths, paths_of
from monai_semiseg.export.png_mask import exif_orientation, write_png_map, write_png_mask
from monai_semiseg.export.preview import Preview, draw_previews
from monai_semiseg.export.radiological import is_picture
from monai_semiseg.export.sizes import LabelSizes
from monai_semiseg.images.grid import Unit, unit_of
from monai_semiseg.images.volume import spatial_dims_of
from monai_semiseg.inference.case_errors import CASE_ERRORS, one_line
from monai_semiseg.plain_text import printable

KINDS = ("native", "nifti", "dicom_seg", "seg_nrrd", "png")


@dataclass(frozen=True)
class Segmented:
    """A mask on the grid of its image's file, and what the writers need of the image.

    Attributes:
        mask: label numbers ``(i, j, k)``.
        affine: 4x4, voxel to mm in RAS, or to pixels.
        sizes: of the labels.
        meta: of the image, as :class:`~monai_semiseg.images.reader.ScanReader` gives it.
        voxels: of the image as they are in the file, for the picture; or None.
        uncertainty: map from 0 to 1, or None.
        flags: reasons to check the mask; a DICOM SEG names them.
    """

    mask: NDArray[Any]
    affine: NDArray[np.float64]
    sizes: LabelSizes = field(default_factory=LabelSizes)
    meta: Mapping[str, Any] = field(default_factory=dict)
    voxels: NDArray[Any] | None = None
    uncertainty: NDArray[np.float32] | None = None
    flags: Sequence[str] = ()

    @property
    def unit(self) -> Unit:
        """Return ``px`` if nobody knows the size of a pixel, else ``mm``."""
        return unit_of(self.meta)

    @property
    def space(self) -> NiftiSpace:
        """Return what a NIfTI header says of the image's space."""
        codes = (int(self.meta.get("qform_code", 1)), int(self.meta.get("sform_code", 1)))
        return NiftiSpace(codes, self.unit, int(self.meta.get("file_axes", 3)))

    @property
    def orientation(self) -> int:
        """Return EXIF's number of a picture's orientation."""
        return exif_orientation(self.affine) if is_picture(self.meta) else 1


class CaseOutputs:
    """Writer of masks and pictures of cases, in folders like those of the inputs.

    The mask's native kind is PNG for pictures and for single images in DICOM, else NIfTI.

    Args:
        folder: output folder.
        names: label number -> name.
        kinds: of masks: ``native``; ``nifti``; ``png``, of one slice; ``dicom_seg``, for DICOM
            images; ``seg_nrrd``, for all but pictures without a pixel size. A case that can have
            none of them gets the native one, and a remark.
        codes: label number -> code of the structure, for DICOM SEG.
        preview: write a picture beside every mask.
        preview_channels: channels of the picture, see
            :class:`~monai_semiseg.export.preview.Preview`.
        model: hash of the weights, for DICOM SEG.

    Raises:
        ConfigError: If a kind is unknown.
    """

    def __init__(
        self,
        folder: Path,
        names: Mapping[int, str],
        kinds: Sequence[str],
        codes: Mapping[int, Mapping[str, str]],
        preview: bool,
        preview_channels: Sequence[str] = (),
        model: str = "",
    ) -> None:
        if not kinds or set(kinds) - set(KINDS):
            raise ConfigError(
                f"output_type {list(kinds)}", expected=f"one or more of {', '.join(KINDS)}"
            )
        self.folder = folder
        self.names = names
        self.kinds = list(kinds)
        self.codes = codes
        self.preview = preview
        self.preview_channels = preview_channels
        self.model = model

    def paths(self, case: Case) -> CasePaths:
        """Return the paths of all files that may be written for a case."""
        return paths_of(case, self.folder)

    def clear(self, case: Case) -> None:
        """Remove the files that an earlier run wrote for the case."""
        for path in self.paths(case).all:
            path.unlink(missing_ok=True)

    def write(self, case: Case, found: Segmented) -> tuple[Path, list[str]]:
        """Write all requested files of a case.

        Returns:
            The mask's file and remarks.

        Raises:
            UnsupportedError: If only a DICOM SEG of a scan was requested and none can be written.
            OutputError: If the disk is full.
        """
        paths = self.paths(case)
        written, notes = self._masks(case, found, paths)
        self._uncertainty(case, found, paths)
        if self.preview:
            notes += self._draw(case, found, paths)
        return written, notes

    def _masks(self, case: Case, found: Segmented, paths: CasePaths) -> tuple[Path, list[str]]:
        """Write the mask in all requested kinds; return the first file and remarks."""
        written: list[Path] = []
        notes: list[str] = []
        refused: list[UnsupportedError] = []
        wanted = [_native_kind(case, found) if kind == "native" else kind for kind in self.kinds]
        for kind in sorted(set(wanted), key=_ORDER.index):
            try:
                written.append(self._writers[kind](case, found, paths))
                notes += self._uncoded() if kind == "dicom_seg" else []
            except UnsupportedError as error:
                refused.append(error)
                notes.append(f"no {_TITLES[kind]}: {error.found}")
        if refused and not written and case.kind == "dicom" and _native_kind(case, found) != "png":
            raise refused[0]
        if not written:
            written.append(self._writers[_native_kind(case, found)](case, found, paths))
        return written[0], notes

    @property
    def _writers(self) -> dict[str, Callable[[Case, Segmented, CasePaths], Path]]:
        """Return the method that writes each kind of mask."""
        return {
            "nifti": self._nifti,
            "png": self._png,
            "seg_nrrd": self._seg_nrrd,
            "dicom_seg": self._dicom_seg,
        }

    def _nifti(self, case: Case, found: Segmented, paths: CasePaths) -> Path:
        return write_mask(found.mask, found.affine, paths.nifti, self.names, found.space)

    def _png(self, case: Case, found: Segmented, paths: CasePaths) -> Path:
        return write_png_mask(found.mask, paths.png, self.names, found.orientation)

    def _seg_nrrd(self, case: Case, found: Segmented, paths: CasePaths) -> Path:
        from monai_semiseg.export.seg_nrrd import write_seg_nrrd

        if found.unit == "px":
            raise UnsupportedError("the image has no pixel size", path=case.source)
        return write_seg_nrrd(found.mask, found.affine, paths.seg_nrrd, self.names)

    def _dicom_seg(self, case: Case, found: Segmented, paths: CasePaths) -> Path:
        from monai_semiseg.export.dicom_seg import write_segmentation

        if case.kind != "dicom":
            raise UnsupportedError("the scan is not DICOM", path=case.source)
        return write_segmentation(
            found.mask,
            found.affine,
            case.files,
            paths.dicom_seg,
            self.names,
            self.codes,
            self.model,
            found.flags,
        )

    def _uncertainty(self, case: Case, found: Segmented, paths: CasePaths) -> None:
        if found.uncertainty is None:
            return
        if _native_kind(case, found) == "png":
            write_png_map(found.uncertainty, paths.uncertainty_png, found.orientation)
        else:
            write_map(found.uncertainty, found.affine, paths.uncertainty, found.space)

    def _uncoded(self) -> list[str]:
        """Name the segments without a code of their own."""
        names = ", ".join(without_code(self.names, self.codes))
        return [f"no code known for {names}; coded as Anatomical Structure"] if names else []

    def _draw(self, case: Case, found: Segmented, paths: CasePaths) -> list[str]:
        """Draw the preview; return a remark if that fails, since the mask is good without it."""
        if found.voxels is None:
            return ["no preview: the scan was not read by monai_semiseg's reader"]
        names = foreground_of(self.names)
        try:
            preview = Preview.of_image(
                f"{printable(case.id)}\n{found.sizes.text()}",
                found.voxels,
                found.mask,
                found.affine,
                found.meta,
                shown=tuple(self.preview_channels),
            )
            path = paths.preview_jpg if preview.in_colour else paths.preview
            draw_previews([preview], path, names)
        except OutputError:
            raise
        except CASE_ERRORS as error:
            return [f"no preview: {one_line(error)}"]
        return []


_ORDER = ("nifti", "png", "seg_nrrd", "dicom_seg")  # the first that is written is the report's
_TITLES = {"nifti": "NIfTI", "png": "PNG", "seg_nrrd": ".seg.nrrd", "dicom_seg": "DICOM SEG"}


def _native_kind(case: Case, found: Segmented) -> str:
    """Return the kind of the mask of an image: PNG for rows and columns of pixels."""
    has_rows = is_picture(found.meta) or case.kind == "dicom"
    return "png" if has_rows and spatial_dims_of(found.mask.shape) == 2 else "nifti"
