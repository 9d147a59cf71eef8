"""What tests of runs share: a folder of good and bad scans."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.inference.run_folders import oblique

LPS = np.diag([-1.0, -2.0, 1.5, 1.0])


@pytest.fixture
def mixed(tmp_path: Path, kit: SimpleNamespace) -> Path:
    """Write three good scans in three forms, two damaged ones, and a file that is no scan."""
    root = tmp_path / "in"
    kit.write_nifti(root / "a" / "oblique.nii.gz", kit.values((9, 7, 5), 1), oblique(), (2, 4))
    kit.write_nifti(root / "lps.nii", kit.values((8, 6, 4), 2), LPS, (0, 1))
    kit.write_dicom(root / "b" / "series", kit.values((10, 8, 6), 3), (0.8, 1.2, 2.5))
    whole = kit.write_nifti(root / "a" / "cut.nii.gz", kit.values((20, 20, 20), 4)).read_bytes()
    (root / "a" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (root / "text.nii.gz").write_text("this is no scan")
    (root / "notes.txt").write_text("remember the milk")
    return root
