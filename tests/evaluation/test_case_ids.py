"""Names and groups of cases come from the datalist."""

from __future__ import annotations

from monai_semiseg.evaluation.case_ids import CaseIds

DATALIST = {
    "name": "d",
    "split": {"seed": 0},
    "training": [{"image": "i/x.nii.gz", "label": "l/x.nii.gz"}],
    "unlabeled": [{"image": "i/u.nii.gz"}],
    "test": [
        {"image": "p1/T1.nii.gz", "label": "p1/lesions.nii.gz", "group": "p1"},
        {"image": "p2/T1.nii.gz", "label": ["p2/lesions.nii.gz", "p2/more.nii.gz"]},
        {"image": "i/b.png", "label": ["l/b_1.png", "l/b_2.png"], "group": "p1"},
    ],
}


def test_label_files_of_the_same_name_are_told_apart() -> None:
    """Check that label files with one name in a folder per case are several cases."""
    ids = CaseIds(DATALIST, "/d")
    labels = ("/d/l/x.nii.gz", "/d/p1/lesions.nii.gz", "/d/p2/lesions.nii.gz", "/d/l/b_1.png")
    assert [ids.name_of(label) for label in labels] == ["x", "p1/lesions", "p2/lesions", "b_1"]
    assert [ids.group_of(label) for label in labels] == ["", "p1", "", "p1"]


def test_labels_that_no_datalist_names() -> None:
    for ids in (CaseIds(DATALIST, None), CaseIds({}, "/d")):
        assert ids.name_of("/d/p1/lesions.nii.gz") == "lesions"
        assert ids.group_of("/d/p1/lesions.nii.gz") == ""
