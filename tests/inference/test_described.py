"""What masks depend on tells runs apart; what changes speed alone does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    Invertd,
    Lambdad,
    NormalizeIntensityd,
    ScaleIntensityRanged,
    Spacingd,
)

from monai_semiseg.bundles.locate import bundle_folder
from monai_semiseg.inference.described import described
from monai_semiseg.inferers.tta import TTAInferer
from monai_semiseg.inferers.windows import WindowInferer
from monai_semiseg.transforms.intensity import EachChanneld
from monai_semiseg.transforms.restore import LabelOnScanGridd


def scaled(high: float = 240.0) -> ScaleIntensityRanged:
    return ScaleIntensityRanged("image", a_min=-160, a_max=high, b_min=0, b_max=1, clip=True)


def windows(**settings: Any) -> TTAInferer:
    return TTAInferer(WindowInferer(**{"roi_size": [8, 8, 8], "overlap": 0.5, **settings}), [0])


def text(thing: Any) -> str:
    return json.dumps(described(thing), sort_keys=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (scaled(), scaled(250.0)),
        (EachChanneld("image", [scaled()]), EachChanneld("image", [scaled(250.0)])),
        (Compose([scaled()]), Compose([scaled(250.0)])),
        (Spacingd("image", [1, 1, 1]), Spacingd("image", [1, 1, 2])),
        (
            NormalizeIntensityd("image", np.arange(20), np.ones(20)),
            NormalizeIntensityd("image", np.arange(20), np.full(20, 2)),
        ),
        (Lambdad("image", np.abs), Lambdad("image", np.negative)),
        (windows(), windows(overlap=0.25)),
        (windows(), windows(slice_axis=0)),
        (windows(), windows(mode="gaussian")),
        (windows(), SlidingWindowInferer([8, 8, 8], overlap=0.5)),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_another_setting_is_another_run(one: Any, other: Any) -> None:
    assert text(one) == text(one) != text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (windows(), windows(sw_batch_size=2, progress=True, device=torch.device("cpu"))),
        (LabelOnScanGridd("pred"), LabelOnScanGridd("pred", slab_mb=8.0)),
        (scaled(), scaled()),
    ],
    ids=["windows", "slabs", "equal"],
)
def test_what_changes_no_mask(one: Any, other: Any) -> None:
    assert text(one) == text(other)


def test_a_step_that_refers_back() -> None:
    before = Compose([scaled()])
    before.undone_by = Invertd("pred", before, orig_keys="image")
    assert "ScaleIntensityRange" in text(before) and "Invertd" in text(before)


SHIPPED = """
import json, sys
from monai.bundle import ConfigParser
from monai_semiseg.inference.described import described
parser = ConfigParser()
parser.read_config(sys.argv[1])
parts = [parser.get_parsed_content(f"{key}") for key in ("preprocessing", "postprocessing")]
print(json.dumps(described([parts, parser.get_parsed_content("inferer")])))
"""


@pytest.mark.slow
def test_another_process_says_the_same() -> None:
    config = bundle_folder("semisupervised_baselines") / "configs" / "inference.json"
    command = [sys.executable, "-c", SHIPPED, str(config)]
    root = Path(__file__).parents[2]
    there = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    parser = ConfigParser()
    parser.read_config(str(config))
    names = ("preprocessing", "postprocessing")
    parts = [parser.get_parsed_content(name) for name in names]
    here = described([parts, parser.get_parsed_content("inferer")])
    assert json.loads(there) == json.loads(json.dumps(here))
    assert "0x" not in there and "99.5" in there  # no address, and the values
