"""Paths of the output files of a case: the one place that names them."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from monai_semiseg.datasets.cases import Case
from monai_semiseg.export.nifti_mask import file_stem

# Field of CasePaths -> what follows the case's name.
_MASKS = {
    "nifti": "_seg.nii.gz",
    "png": "_seg.png",
    "seg_nrrd": ".seg.nrrd",
    "dicom_seg": "_seg.dcm",
}
_PREVIEWS = {"preview": "_preview.png", "preview_jpg": "_preview.jpg"}
_MAPS = {"uncertainty": "_uncertainty.nii.gz", "uncertainty_png": "_uncertainty.png"}


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
    name = name_of_case(case)
    endings = {**_MASKS, **_PREVIEWS, **_MAPS}
    return CasePaths(**{field: folder / f"{name}{ending}" for field, ending in endings.items()})


def name_of_case(case: Case) -> str:
    """Return what all paths of a case's output files begin with, below the output folder.

    It is the id of the case, unless that is too long for a file name, and unique in a run.
    """
    folder, _, name = case.id.rpartition("/")
    return f"{folder}/{file_stem(name)}" if folder else file_stem(name)


def name_of_mask(mask: str) -> str:
    """Return :func:`name_of_case` from the path of a mask: ``a/b`` of ``a/b_seg.png``."""
    for ending in _MASKS.values():
        mask = mask.removesuffix(ending)
    return mask


def previews_of(mask: str) -> tuple[str, ...]:
    """Return the paths that the picture of a mask may have: in greys, and in colour."""
    return tuple(f"{name_of_mask(mask)}{ending}" for ending in _PREVIEWS.values())
