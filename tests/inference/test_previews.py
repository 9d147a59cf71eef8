"""Previews of folder runs face one way, whatever the order of the voxels and the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.inference.runner import BatchRunner


def test_one_scan_in_any_order_and_format_gives_one_picture(
    tmp_path: Path, make_runner: Callable[..., BatchRunner], kit: SimpleNamespace
) -> None:
    """Compare pictures, but for the name of the scan in the first line."""
    array = kit.values((10, 8, 6), 3).round(3)
    affine = kit.write_dicom(tmp_path / "in" / "series", array, (0.8, 1.2, 2.5))
    for number, turn in enumerate(kit.orientations()[::5]):
        turned = nib.Nifti1Image(array, affine).as_reoriented(turn)
        stored = np.asanyarray(turned.dataobj)
        kit.write_nifti(tmp_path / "in" / f"{number:02}.nii", stored, turned.affine)
    assert all(result.status == "done" for result in make_runner(preview=True).run())

    def picture(file: Path) -> NDArray[Any]:
        return np.asarray(Image.open(file).convert("RGB"), dtype=np.int64)[36:]

    dicom = picture(tmp_path / "out" / "series_preview.png")
    files = sorted((tmp_path / "out").glob("0*_preview.png"))
    assert len(files) == 10
    for file in files:
        # Slopes of DICOM round otherwise than float32 does: a grey may be the next one.
        assert np.abs(picture(file) - dicom).max() <= 4, file.name
    assert np.ptp(dicom) > 200
