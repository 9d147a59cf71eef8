"""Names of sides in many languages, and the effect on mirroring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.sides import decide_sides, has_side, name_words
from monai_semiseg.errors import ConfigError

SIDED = [
    "LeftHippocampus",
    "RightHippocampus",
    "kidneyLeft",
    "kidney_R",
    "l_lung",
    "lung_l",
    "L",
    "R",
    "KidneyL",
    "LKidney",
    "lh.cortex",
    "rh-cortex",
    "kidney-lt",
    "rt_kidney",
    "RIGHT_LUNG",
    "rib_left_1",
    "rib4L",
    "lung_lower_lobe_left",
    "LEFTHIPPOCAMPUS",
    "lefthippocampus",
    "hippocampusright",
    "LUL",
    "RLL",
    "LV",
]
LANGUAGES = (
    "left kidney",
    "linke Niere",
    "rechter Lungenflügel",
    "Niere rechts",
    "rein gauche",
    "poumon droit",
    "riñón izquierdo",
    "pulmón derecho",
    "rene sinistro",
    "polmone destro",
    "rim esquerdo",
    "pulmão direito",
    "linker nier",
    "rechter nier",
    "lewa nerka",
    "prawe płuco",
    "lewej komory",
    "levá ledvina",
    "pravá plíce",
    "vänster njure",
    "högra lungan",
    "høyre nyre",
    "højre lunge",
    "vasen munuainen",
    "bal vese",
    "rinichi stâng",
    "sağ böbrek",
    "левая почка",
    "правый лёгкое",
    "αριστερός νεφρός",
    "ren sinister",
    "pulmonis dextri",
    "atrium dextrum",
    "左肾",
    "右肺",
    "左の腎臓",
    "왼쪽 신장",
    "오른쪽 신장",
    "الكلية اليسرى",
    "الكلى اليمنى",
    "کلیه چپ",
    "כליה שמאלית",
    "כליה ימנית",
    "बायां गुर्दा",
    "दायाँ गुर्दा",
    "ไตซ้าย",
    "ไตขวา",
    "thận trái",
    "thận phải",
    "ginjal kiri",
    "ginjal kanan",
)
UNSIDED = [
    "background",
    "Anterior",
    "Posterior",
    "levator_ani",
    "upright",
    "Lever",
    "lobe",
    "liver",
    "tumour",
    "vertebra_L1",
    "vertebrae_L5",
    "L1",
    "T1",
    "T12",
    "C7",
    "R2star",
    "l'aorte",
    "rectum",
    "leftover",
    "cleft",
    "pharyngealcleft",
    "brightness",
    "relevant",
    "kidney",
    "kidneys",
]


@pytest.mark.parametrize("name", [*SIDED, *LANGUAGES])
def test_sides_in_names(name: str) -> None:
    assert has_side(name)
    assert decide_sides({0: "background", 1: name})[0], "one sided name is enough"


@pytest.mark.parametrize("name", [*UNSIDED, "left and right kidney", "左右肺", "L/R"])
def test_names_without_a_side_of_their_own(name: str) -> None:
    assert not has_side(name)


@given(st.sampled_from(["left", "Right", "L", "links"]), st.sampled_from("_-./ 12"), st.booleans())
def test_only_whole_words_count(side: str, gap: str, first: bool) -> None:
    apart = f"kidney{gap}{side}"
    joined = f"kidney{side.lower()}"
    if first:
        apart = f"{side}{gap}kidney"
        joined = f"{side.lower()}kidney"
    number = first and gap.isdigit() and len(side) == 1  # L1
    assert has_side(apart) is not number
    assert has_side(joined) == (side.lower() in ("left", "right")), "long words are told within one"


def test_words_of_a_name() -> None:
    assert name_words("LHippocampus_CA1left2") == ["l", "hippocampus", "ca", "left"]
    assert name_words("niño (l'œil) L5") == ["nino", "œil"]


@pytest.mark.parametrize(
    ("names", "sided"),
    [
        (["lkid", "rkid"], True),
        (["kidneyl", "kidneyr"], True),
        (["LV", "RV"], True),
        (["rein g", "rein d"], True),
        (["lung", "liver"], False),
        (["left atrium"], True),
        (["label_1"], False),
        (["label_1", "label_2"], True),
        (["liver", "class 2"], True),
        (["1", "2"], True),
        (["", "tumour"], True),
        (["shell", "core"], False),
        (["L1", "L2", "T12"], False),
    ],
)
def test_names_together(names: list[str], sided: bool) -> None:
    assert decide_sides(dict(enumerate(["background", *names])))[0] is sided


def test_what_is_said_beats_names_and_the_user_beats_all() -> None:
    labels = {0: "background", 1: "left kidney"}
    assert decide_sides(labels)[0]
    assert not decide_sides(labels, declared=False)[0]
    assert decide_sides(labels, declared=False, asked=True)[0]
    assert not decide_sides(labels, declared=True, asked=False)[0]


def dataset(folder: Path, **description: Any) -> Path:
    """Write one labelled scan of two classes, with or without dataset.json."""
    label = np.zeros((8, 8, 8), np.uint8)
    label[:4] = 1
    label[4:6] = 2
    for name, array in (("images", label.astype(np.float32)), ("labels", label)):
        (folder / name).mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / name / "a.nii.gz")
    if description:
        entry = {"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}
        content = {"training": [entry], **description}
        (folder / "dataset.json").write_text(json.dumps(content))
    return folder


NAMED = {"labels": {"0": "background", "1": "core", "2": "shell"}}


@pytest.mark.parametrize(
    ("description", "options", "sided"),
    [
        ({}, [], True),
        ({}, ["--sides", "false"], False),
        (NAMED, [], False),
        (NAMED, ["--sides", "true"], True),
        ({**NAMED, "sides": True}, [], True),
        ({**NAMED, "sides": True}, ["--sides", "false"], False),
        ({"labels": {"0": "background", "1": "nyreL", "2": "nyre"}}, [], True),
    ],
)
def test_plan(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    description: dict[str, Any],
    options: list[str],
    sided: bool,
) -> None:
    file = tmp_path / "plan.yaml"
    folder = dataset(tmp_path / "data", **description)
    assert main(["plan", str(folder), "--output", str(file), *options]) == 0
    settings = yaml.safe_load(file.read_text())
    assert settings["sides"] is sided
    assert settings["flip_left_right"] == (0.0 if sided else 0.5)
    assert settings["mirror_axes"] == ([] if sided else [0])
    said = [line for line in capsys.readouterr().out.splitlines() if "sides: " in line]
    assert f"# sides: {str(sided).lower()}, " in said[0], "why is said in one line"


@pytest.mark.parametrize("value", ["yes", 1, []])
def test_a_dataset_that_says_something_else_is_refused(tmp_path: Path, value: Any) -> None:
    folder = dataset(tmp_path, **NAMED, sides=value)
    with pytest.raises(ConfigError, match="sides"):
        open_dataset(folder)
    assert main(["plan", str(folder), "--output", str(tmp_path / "plan.yaml")]) == 2
    assert not (tmp_path / "plan.yaml").exists()
