"""Paths of the output files of a case: the one place that names them."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from monai_semiseg.datasets.cases import Case
from monai_semiseg.export.nifti_mask import file_stem


@dataclass(frozen=True)
class CasePaths:
    """Every file that a run may write for a case.

    Attributes:
        nifti: the mask as NIfTI.
        png: the mask as PNG.
        seg_nrrd: the mask as ``.seg.nrrd``.
        dicom_seg: the mask as DICOM SEG.
        preview: the picture of the mask on its image.
        preview_jpg: the same if it is in colour.
        uncertainty: the map of uncertainty as NIfTI.
        uncertainty_png: the map of uncertainty as PNG.
    """

    nifti: Path
    png: Path
    seg_nrrd: Path
    dicom_seg: Path
    preview: Path
    preview_jpg: Path
    uncertainty: Path
    uncertainty_png: Path

    @property
    def masks(self) -> tuple[Path, ...]:
        """Return the files that hold the mask; which of them are written depends on the image."""
        return self.nifti, self.png, self.seg_nrrd, self.dicom_seg

    @property
    def all(self) -> tuple[Path, ...]:
        """Return all files."""
        return astuple(self)


def paths_of(case: Case, folder: Path) -> CasePaths:
    """Return the paths of a case's output files, in folders like those of the inputs."""
    parent = folder / Path(case.id).parent
    name = file_stem(case.id.rsplit("/", 1)[-1])
    return CasePaths(
        nifti=parent / f"{name}_seg.nii.gz",
        png=parent / f"{name}_seg.png",
        seg_nrrd=parent / f"{name}.seg.nrrd",
        dicom_seg=parent / f"{name}_seg.dcm",
        preview=parent / f"{name}_preview.png",
        preview_jpg=parent / f"{name}_preview.jpg",
        uncertainty=parent / f"{name}_uncertainty.nii.gz",
        uncertainty_png=parent / f"{name}_uncertainty.png",
    )
