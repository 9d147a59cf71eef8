"""Files of one patient's channels are told from scans by their names."""

from __future__ import annotations

import pytest

from monai_semiseg.datasets.channels import channel_groups, patient_of, split_contrast

WORDS = [
    "T1",
    "T1w",
    "T1c",
    "T1ce",
    "T1gd",
    "T2",
    "T2w",
    "FLAIR",
    "PD",
    "ADC",
    "DWI",
    "SWI",
    "CT",
    "PET",
]


@pytest.mark.parametrize("word", [*WORDS, *map(str.lower, WORDS)])
@pytest.mark.parametrize("sign", "_-. ")
def test_a_contrast_word_counts_wherever_it_stands(word: str, sign: str) -> None:
    assert split_contrast(f"p1{sign}{word}") == ("p1", word)
    assert split_contrast(f"{word}{sign}p1") == ("p1", word)
    assert split_contrast(f"p1{sign}{word}{sign}brain") == (f"p1{sign}brain", word)
    assert split_contrast(word) == ("", word)


@pytest.mark.parametrize("name", ["case", "case_1", "doctor", "T12", "PETER_1", "connect", "spdx"])
def test_other_words_are_names(name: str) -> None:
    assert split_contrast(name) == (name, "")
    assert patient_of(name) == name


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["c_0000", "c_0001", "c_0002", "c_0003"], {"c": ["0000", "0001", "0002", "0003"]}),
        (["c_0000", "c_0002"], {"c": ["0000", "0002"]}),  # one is lost
        (["c_0000"], {}),  # nnU-Net's name of a single channel
        (["c_0000", "d_0000"], {}),
        (["PANCREAS_0001", "PANCREAS_0002"], {}),  # numbers of patients
        ([f"scan_{n:04}" for n in range(40)], {}),
        (["c_FLAIR", "c_T1"], {"c": ["flair", "t1"]}),
        (["FLAIR", "T1", "T1post", "T2"], {"": ["flair", "t1", "t1post", "t2"]}),
        (["c_T1", "c_T1_post"], {"c": ["t1", "t1_post"]}),
        (["T1_0001", "FLAIR_0001", "T1_0002"], {"0001": ["flair", "t1"]}),
        (["c", "c_T1"], {"c": ["", "t1"]}),
        (["c_T1", "d_FLAIR"], {}),
    ],
)
def test_groups(names: list[str], groups: dict[str, list[str]]) -> None:
    found = channel_groups(names)
    assert {stem: sorted(channels) for stem, channels in found.items()} == groups
    assert set().union(*(channels.values() for channels in found.values())) <= set(names)


def test_numbers_with_a_label_of_their_own_are_scans() -> None:
    names = ["c_0000", "c_0001"]
    assert channel_groups(names, labelled=names) == {}
    assert list(channel_groups(names, labelled=["c"])) == ["c"]


@pytest.mark.parametrize(
    ("name", "patient"), [("c_0000", "c"), ("c_0001", "c_0001"), ("c_FLAIR", "c"), ("c", "c")]
)
def test_the_name_of_its_label(name: str, patient: str) -> None:
    assert patient_of(name) == patient
