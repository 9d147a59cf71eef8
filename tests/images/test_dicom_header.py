"""Tags that tell the volumes of a series apart."""

from __future__ import annotations

import pytest
from pydicom.datadict import private_dictionary_description

from monai_semiseg.images.dicom_tags import SPLITTING_TAGS


@pytest.mark.parametrize(
    ("name", "creator", "words"),
    [
        ("GE image component", "GEMS_PARM_01", "Image Type (real, imaginary, phase, magnitude)"),
        ("GE b-value", "GEMS_PARM_01", "Slop_int_6... slop_int_9"),
        ("GE gradient x", "GEMS_ACQU_01", "User data 20"),
        ("GE gradient y", "GEMS_ACQU_01", "User data 21"),
        ("GE gradient z", "GEMS_ACQU_01", "User data 22"),
        ("Siemens b-value", "SIEMENS MR HEADER", "B_value"),
        ("Siemens gradient", "SIEMENS MR HEADER", "DiffusionGradientDirection"),
        ("Philips b-value", "Philips Imaging DD 001", "Diffusion B-Factor"),
        ("Philips gradient x", "Philips MR Imaging DD 001", "Diffusion Direction RL"),
        ("Philips gradient y", "Philips MR Imaging DD 001", "Diffusion Direction AP"),
        ("Philips gradient z", "Philips MR Imaging DD 001", "Diffusion Direction FH"),
    ],
)
def test_private_tags_are_what_the_vendors_dictionaries_say(
    name: str, creator: str, words: str
) -> None:
    tag = SPLITTING_TAGS[name]
    assert isinstance(tag, int)
    assert private_dictionary_description(tag, creator) == words
