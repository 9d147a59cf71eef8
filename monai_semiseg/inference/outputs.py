"""Where the results of a case go, and writing them."""

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
    """Writes masks, DICOM SEG and pictures of cases into a tree that mirrors the inputs'.

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
        self.folder, self.names, self.kinds, self.codes, self.preview = (
            folder,
            names,
            list(kinds),
            codes,
            preview,
        )

    def clear(self, case: Case) -> None:
        """Remove what an earlier run wrote for the case: what is there afterwards is of this one."""
        for stale in (self.mask(case), self.dicom(case), self.picture(case), self.doubt(case)):
            stale.unlink(missing_ok=True)

    def write(
        self,
        case: Case,
        mask: NDArray[Any],
        affine: NDArray[np.float64],
        codes: tuple[int, int],
        model: str,
        image: NDArray[Any] | None = None,
        doubt: NDArray[np.float32] | None = None,
        flags: Sequence[str] = (),
    ) -> tuple[Path, list[str]]:
        """Write everything that was asked for.

        Args:
            case: the scan.
            mask: map of label numbers on the scan's own grid.
            affine: 4x4, voxel to mm in RAS, of the scan.
            codes: its qform and sform codes.
            model: hash of the weights.
            image: the scan's voxels as they are in the file, for the picture.
            doubt: map of the uncertainty, 0 to 1, or None.
            flags: what makes the mask doubtful; a DICOM SEG says it.

        Returns:
            The mask's file and remarks.

        Raises:
            UnsupportedError: If a DICOM SEG alone was asked for and cannot be.
            OutputError: If the disk is full.
        """
        paths, notes = [], []
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
        if doubt is not None:
            write_map(doubt, affine, self.doubt(case), codes)
        if self.preview:
            notes += (
                ["no preview: the scan was not read by our reader"]
                if image is None
                else self._draw(case, mask, affine, image)
            )
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
        """Say which segments are coded as no more than a structure."""
        if names := without_code(self.names, self.codes):
            known = "coded as Anatomical Structure"
            return [f"no code known for {', '.join(names)}; {known}"]
        return []

    def _draw(
        self, case: Case, mask: NDArray[Any], affine: NDArray[np.float64], image: NDArray[Any]
    ) -> list[str]:
        """Draw the preview; why there is none is a remark, since the mask is good."""
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
        """The NIfTI mask."""
        return self.folder / Path(case.id).parent / f"{self._name(case)}_seg.nii.gz"

    def dicom(self, case: Case) -> Path:
        """The DICOM SEG."""
        return self.mask(case).with_name(f"{self._name(case)}_seg.dcm")

    def picture(self, case: Case) -> Path:
        """The preview."""
        return self.mask(case).with_name(f"{self._name(case)}_preview.png")

    def doubt(self, case: Case) -> Path:
        """The map of the uncertainty."""
        return self.mask(case).with_name(f"{self._name(case)}_uncertainty.nii.gz")

    @staticmethod
    def _name(case: Case) -> str:
        return file_stem(case.id.rsplit("/", 1)[-1])
