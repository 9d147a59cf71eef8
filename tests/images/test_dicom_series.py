"""Images that belong to one series: not localizers, copies, or images of other studies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from monai_semiseg.datasets.discover import find_cases, read_case
from tests.images.series_builders import volume


def test_localizers_are_passed_over(make: SimpleNamespace, tmp_path: Path) -> None:
    volume(make, tmp_path, "A", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, count=1)
    volume(make, tmp_path, "B", {})
    found = find_cases(tmp_path, progress=False)
    assert [skipped.reason for skipped in found.skipped] == ["localizer"]
    make.assert_true(read_case(found.cases[0]))


def test_copies_in_other_folders(make: SimpleNamespace, tmp_path: Path) -> None:
    """Check that a whole copy is a case of its own, and a part of one changes nothing."""
    files = volume(make, tmp_path / "a", "A", {})
    for folder, copied in (("whole", files), ("part", files[:3])):
        root = tmp_path / folder
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
        for file in files:
            (root / "a" / file.name).write_bytes(file.read_bytes())
        for file in copied:
            (root / "b" / file.name).write_bytes(file.read_bytes())
    assert [len(c.files) for c in find_cases(tmp_path / "whole", progress=False).cases] == [8, 8]
    assert [len(c.files) for c in find_cases(tmp_path / "part", progress=False).cases] == [8]


def test_series_of_other_studies_are_never_merged(make: SimpleNamespace, tmp_path: Path) -> None:
    """Keep them apart, even if de-identification gives all patients one SeriesInstanceUID."""
    volume(make, tmp_path / "p1", "A", {"StudyInstanceUID": "1.1"})
    volume(make, tmp_path / "p2", "B", {"StudyInstanceUID": "1.2"}, count=5)
    found = find_cases(tmp_path, progress=False)
    assert sorted(len(case.files) for case in found.cases) == [5, 8]
