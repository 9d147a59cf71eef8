"""Coded terms for labels' names: DICOM's own lists, in any order and spelling of the words."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes

from monai_semiseg.export.anatomy_codes import structure_code, without_code

KIDNEY = "64033007"


@pytest.mark.parametrize(
    ("name", "value", "side"),
    [
        ("Hippocampus", "5366008", None),
        ("liver", "10200004", None),
        ("left kidney", KIDNEY, "7771000"),
        ("kidney_right", KIDNEY, "24028007"),
        ("KidneyLeft", KIDNEY, "7771000"),
        ("r_kidney", KIDNEY, "24028007"),
        ("kidneys", KIDNEY, None),
        ("left atrium", "82471001", None),
        ("lung_upper_lobe_left", "45653009", "7771000"),
        ("vertebrae_L1", "66794005", None),
        ("urinary_bladder", "89837001", None),
        ("brainstem", "119238007", None),
    ],
)
def test_names(name: str, value: str, side: str | None) -> None:
    found = structure_code(name)
    assert found is not None and found.kind.value == value
    assert (found.side and found.side.value) == side
    assert found.category == codes.SCT.AnatomicalStructure


def test_a_tumour_is_no_anatomical_structure() -> None:
    for name in ("tumour", "Tumor"):
        found = structure_code(name)
        assert found is not None
        assert (found.kind, found.category) == (
            codes.SCT.Neoplasm,
            codes.SCT.MorphologicallyAbnormalStructure,
        )


@pytest.mark.parametrize(
    "name",
    [
        "Anterior",
        "label_1",
        "",
        "ventricle",
        "normal",
        "left right kidney",
        "liver tumour",
        "background",
    ],
)
def test_nothing_is_guessed(name: str) -> None:
    assert structure_code(name) is None


def test_every_listed_structure_is_found_by_its_own_name() -> None:
    listed = {getattr(codes.cid7192, keyword).meaning for keyword in codes.cid7192.dir()}
    found = {name: structure_code(name) for name in listed}
    wrong = {
        name for name, code in found.items() if code and code.kind.meaning.lower() != name.lower()
    }
    missing = {name for name, code in found.items() if code is None}
    assert missing == {"Ventricle", "Media", "Phantom"} and not wrong


def test_names_without_a_code() -> None:
    names = {0: "background", 1: "Anterior", 2: "Liver", 3: "x"}
    assert without_code(names, {3: {"value": "1"}}) == ["Anterior"]
