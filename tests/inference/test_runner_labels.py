"""Outputs of a run have the numbers and names of the label files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.nifti_mask import read_label_names
from tests.inference.run_folders import Make


@pytest.mark.parametrize("values", [[0, 205, 420], [0, 1, 4], [0, 8, 16], [-1, 0, 1]], ids=str)
def test_outputs_have_the_numbers_of_the_label_files(
    values: list[int], tmp_path: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    """Check that masks, names, volumes, measures, pictures and DICOM SEG agree on every label."""
    array = kit.values((16, 17, 15), 3)
    affine = kit.write_dicom(tmp_path / "in" / "series", array)
    names = dict(zip(map(str, values), ["background", "left", "right"], strict=True))
    runner = make_runner(
        label_names=names,
        label_values=values,
        output_type=["nifti", "dicom_seg"],
        preview=True,
        segment_codes={str(values[2]): {"value": "5366008", "scheme": "SCT", "meaning": "x"}},
    )
    (result,) = runner.run()
    assert result.status == "done", result.reason
    expected = kit.expected(array, affine)
    image = nib.load(tmp_path / "out" / "series_seg.nii.gz")
    assert np.array_equal(np.asanyarray(image.dataobj), np.asarray(values)[expected])
    kind = np.int16 if min(values) < 0 else np.uint16 if max(values) > 255 else np.uint8
    assert image.get_data_dtype() == kind
    assert read_label_names(tmp_path / "out" / "series_seg.nii.gz") == {
        int(value): name for value, name in names.items()
    }
    ml = abs(np.linalg.det(affine)) / 1000
    assert result.volumes_ml == pytest.approx(
        {"left": (expected == 1).sum() * ml, "right": (expected == 2).sum() * ml}
    )
    assert set(result.measures) == {"left", "right"}
    segments = pydicom.dcmread(tmp_path / "out" / "series_seg.dcm").SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel, s.SegmentDescription) for s in segments] == [
        (1, "left", f"label number {values[1]}"),
        (2, "right", f"label number {values[2]}"),
    ]
    assert segments[1].SegmentedPropertyTypeCodeSequence[0].CodeValue == "5366008"
    assert (tmp_path / "out" / "series_preview.png").is_file()


def test_memory_is_estimated_for_every_output(make_runner: Make) -> None:
    """Check that classes are the network's outputs, not the names nor the highest number."""
    names = {"0": "background", "205": "a", "420": "b"}
    runner = make_runner(label_names=names, label_values=[0, 205, 420])
    assert runner._segmenter().inferer.classes == 3
    gap = make_runner(label_names={"0": "background", "4": "b"})
    assert gap._segmenter().inferer.classes == 5, "without numbers, classes are the names' numbers"


def test_numbers_without_names_stop_before_any_work(make_runner: Make) -> None:
    with pytest.raises(ConfigError, match="a name for every number"):
        make_runner(label_values=[0, 205, 420])
