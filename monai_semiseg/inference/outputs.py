"""Output files of a case: their paths, and writing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_semiseg.datasets.cases import Case
from monai_semiseg.errors import ConfigError, OutputError, UnsupportedError
from monai_semiseg.export.anatomy_codes import without_code
from monai_semiseg.export.measure import volumes_ml
from monai_semiseg.export.nifti_mask import file_stem, write_map, write_mask
from monai_semiseg.export.preview import Preview, draw_previews
from monai_semiseg.inference.case_errors import CASE_ERRORS, one_line
from monai_semiseg.plain_text import printable


class CaseOutputs:
    """Writer of masks, DICOM SEG and pictures of cases, in folders like those of the inputs.

    Args:
        folder: output folder.
        names: label number -> name.
        kinds: ``nifti``, ``dicom_seg``, or both.
        codes: label number -> code of the structure, for DICOM SEG.
        preview: write a PNG beside every mask.

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
    ) -> None:
        if not kinds or set(kinds) - {"nifti", "dicom_seg"}:
            raise ConfigError(f"output_type {list(kinds)}", expected="nifti, dicom_seg, or both")
        self.folder = folder
        self.names = names
        self.kinds = list(kinds)
        self.codes = codes
        self.preview = preview

    def clear(self, case: Case) -> None:
        """Remove the files that an earlier run wrote for the case."""
        for path in (self.mask, self.dicom, self.picture, self.uncertainty):
            path(case).unlink(missing_ok=True)

    def write(
        self,
        case: Case,
        mask: NDArray[Any],
        affine: NDArray[np.float64],
        codes: tuple[int, int],
        model: str,
        image: NDArray[Any] | None = None,
        uncertainty: NDArray[np.float32] | None = None,
        flags: Sequence[str] = (),
    ) -> tuple[Path, list[str]]:
        """Write all requested files of a case.

        Args:
            case: the scan.
            mask: label numbers on the scan's own grid.
            affine: 4x4, voxel to mm in RAS, of the scan.
            codes: its qform and sform codes.
            model: hash of the weights.
            image: the scan's voxels as they are in the file, for the picture.
            uncertainty: map from 0 to 1, or None.
            flags: reasons to check the mask; a DICOM SEG names them.

        Returns:
            The mask's file and remarks.

        Raises:
            UnsupportedError: If only a DICOM SEG was requested and none can be written.
            OutputError: If the disk is full.
        """
        paths = []
        notes = []
        if "nifti" in self.kinds or case.kind != "dicom":
            paths.append(write_mask(mask, affine, self.mask(case), self.names, codes))
        if "dicom_seg" in self.kinds:
            try:
                paths.append(self._segmentation(case, mask, affine, model, flags))
                notes += self._uncoded()
            except UnsupportedError as error:
                if not paths:
                    raise
                notes.append(f"no DICOM SEG: {error.found}")
        if uncertainty is not None:
            write_map(uncertainty, affine, self.uncertainty(case), codes)
        if self.preview:
            notes += self._draw(case, mask, affine, image)
        return paths[0], notes

    def _segmentation(
        self,
        case: Case,
        mask: NDArray[Any],
        affine: NDArray[np.float64],
        model: str,
        flags: Sequence[str],
    ) -> Path:
        from monai_semiseg.export.dicom_seg import write_segmentation

        if case.kind != "dicom":
            raise UnsupportedError("the scan is not DICOM", path=case.source)
        return write_segmentation(
            mask, affine, case.files, self.dicom(case), self.names, self.codes, model, flags
        )

    def _uncoded(self) -> list[str]:
        """Name the segments without a code of their own."""
        names = ", ".join(without_code(self.names, self.codes))
        return [f"no code known for {names}; coded as Anatomical Structure"] if names else []

    def _draw(
        self,
        case: Case,
        mask: NDArray[Any],
        affine: NDArray[np.float64],
        image: NDArray[Any] | None,
    ) -> list[str]:
        """Draw the preview; return a remark if that fails, since the mask is good without it."""
        if image is None:
            return ["no preview: the scan was not read by monai_semiseg's reader"]
        title = ", ".join(
            f"{name} {ml:.2f} mL" for name, ml in volumes_ml(mask, affine, self.names).items()
        )
        names = {index: name for index, name in self.names.items() if index > 0}
        try:
            preview = Preview(f"{printable(case.id)}\n{title}", image, mask, affine)
            draw_previews([preview], self.picture(case), names)
        except OutputError:
            raise
        except CASE_ERRORS as error:
            return [f"no preview: {one_line(error)}"]
        return []

    def mask(self, case: Case) -> Path:
        """Return the path of the NIfTI mask."""
        return self.folder / Path(case.id).parent / f"{self._name(case)}_seg.nii.gz"

    def dicom(self, case: Case) -> Path:
        """Return the path of the DICOM SEG."""
        return self.mask(case).with_name(f"{self._name(case)}_seg.dcm")

    def picture(self, case: Case) -> Path:
        """Return the path of the preview."""
        return self.mask(case).with_name(f"{self._name(case)}_preview.png")

    def uncertainty(self, case: Case) -> Path:
        """Return the path of the uncertainty map."""
        return self.mask(case).with_name(f"{self._name(case)}_uncertainty.nii.gz")

    @staticmethod
    def _name(case: Case) -> str:
        return file_stem(case.id.rsplit("/", 1)[-1])
