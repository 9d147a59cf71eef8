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
    "PDfs",
    "T2tse",
    "STIR",
    "MPRAGE",
    "hbv",
    "water",
    "fat",
    "inphase",
    "arterial",
    "venous",
    "delayed",
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
        (["c_T1", "c_T2_FLAIR", "c_T2_space"], {"c": ["t1", "t2_flair", "t2_space"]}),
        (["c_dwi_b50", "c_dwi_b1000"], {"c": ["dwi_b1000", "dwi_b50"]}),
        (["c_portal_venous", "c_arterial"], {"c": ["arterial", "portal_venous"]}),
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
    ("names", "labelled", "groups"),
    [
        (["c_foo", "c_bar", "d_foo"], ["c", "d"], {"c": ["bar", "foo"]}),
        (["c_0001", "c_0002"], ["c"], {"c": ["0001", "0002"]}),  # numbered from 1
        (["c_adc", "c_t2w", "c_x"], ["c"], {"c": ["adc", "t2w", "x"]}),
        (["c_1_a", "c_1_b", "c_2_a"], ["c", "c_1", "c_2"], {"c_1": ["a", "b"]}),
        (["c_1", "c_2"], ["c", "c_1", "c_2"], {}),  # each has its own
        (["call", "cell"], ["c"], {}),
    ],
)
def test_names_that_go_on_behind_a_labels_are_its_channels(
    names: list[str], labelled: list[str], groups: dict[str, list[str]]
) -> None:
    """Find channels whatever the word, none of which any list knows."""
    found = channel_groups(names, labelled)
    assert {stem: sorted(channels) for stem, channels in found.items()} == groups


@pytest.mark.parametrize(
    ("name", "patient"), [("c_0000", "c"), ("c_0001", "c_0001"), ("c_FLAIR", "c"), ("c", "c")]
)
def test_the_name_of_its_label(name: str, patient: str) -> None:
    assert patient_of(name) == patient
