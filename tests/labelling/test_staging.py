"""Names of the files that are handed out: for who labels, and for the folder run."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semiseg.datasets.dataset import DatasetCase, ScanDataset
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.labelling.staging import stage
from tests.layout_builders import patient, save


@pytest.mark.parametrize(
    ("name", "channels", "files"),
    [
        ("p1", ("T2", "FLAIR"), ["p1_T2", "p1_FLAIR"]),
        ("p_T2", ("T2", "T2_FLAIR"), ["p_T2_T2", "p_T2_T2_FLAIR"]),
        ("FLAIR_p", ("T2", "FLAIR"), ["FLAIR_p_0000", "FLAIR_p_0001"]),  # T2 would be read as FLAIR
        ("p1", ("0000", "0001"), ["p1_0000", "p1_0001"]),
        ("p1", ("T2/a", "b: c"), ["p1_0000", "p1_0001"]),  # no names of files
    ],
)
def test_contrasts_are_named_and_found_again(
    name: str, channels: tuple[str, str], files: list[str], tmp_path: Path
) -> None:
    voxels, _ = patient(0)
    given = [save(tmp_path / f"x{n}.nii.gz", voxels[..., n]).name for n in range(2)]
    case = DatasetCase("one", tuple(given), None, "")
    dataset = ScanDataset(tmp_path, "d", "", {}, [case], {}, None, channels)
    image = stage(dataset, case, name)
    image.link(tmp_path / "scans")
    (found,) = find_cases(tmp_path / "scans", channels, progress=False).cases
    assert (found.fault, found.id) == (None, f"{name}/{name}")
    assert [file.name.split(".")[0] for file in found.files] == files
    assert [file.read_bytes() for file in found.files] == [
        (tmp_path / file).read_bytes() for file in given
    ]
