"""Names of cases: the suffix of an image goes, other dots stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semiseg.datasets.case_names import has_image_suffix, stem_of, without_suffix


@pytest.mark.parametrize(
    ("file", "stem", "is_image"),
    [
        ("a/IM0001.IMA", "IM0001", True),
        ("a/IM0001.dcm", "IM0001", True),
        ("scan.nii.gz", "scan", True),
        ("scan.mgh.gz", "scan", True),
        ("scan.img", "scan", True),
        ("scans.zip", "scans", False),
        ("1.2.840.1.45", "1.2.840.1.45", False),
        (".dcm", ".dcm", True),
        ("notes.txt", "notes.txt", False),
    ],
)
def test_suffixes(file: str, stem: str, is_image: bool) -> None:
    assert stem_of(file) == stem
    assert without_suffix(Path(file)) == Path(file).parent / stem
    assert has_image_suffix(file) is is_image
