"""The shipped weights give the same labels in other number formats, layouts, orders of flips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers import precision
from monai_semiseg.inference.runner import BatchRunner

ROOT = Path(__file__).resolve().parents[2]
SCANS = sorted((ROOT / "sample_data" / "scans").glob("*.nii*"))


@pytest.fixture(scope="module")
def golden() -> Any:
    """Return network, inferer, and every sample scan with what float32 makes of it."""
    workflow = open_workflow(ROOT / "bundles" / "semisupervised_baselines", "inference")
    workflow.initialize()
    get = workflow.parser.get_parsed_content
    network = get("network").cpu().eval()
    inferer = get("inferer")
    reading = get("preprocessing")
    network.load_state_dict(torch.load(str(get("ckpt_path")), weights_only=True))
    images = [reading({"image": scan})["image"].as_tensor()[None] for scan in SCANS]
    with torch.no_grad():
        return network, inferer, [(image, inferer(image, network)) for image in images]


def reduced(network: Any, inferer: Any, image: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return torch.as_tensor(inferer(image, network))


def channels_last(network: Any, inferer: Any, image: Tensor) -> Tensor:
    output = inferer(image, network.to(memory_format=torch.channels_last_3d))
    network.to(memory_format=torch.contiguous_format)
    return torch.as_tensor(output)


def traced(network: Any, inferer: Any, image: Tensor) -> Tensor:
    return torch.as_tensor(inferer(image, torch.compile(network, backend="aot_eager")))


def other_flips(network: Any, inferer: Any, image: Tensor) -> Tensor:
    inferer.flips.reverse()
    output = inferer(image, network)
    inferer.flips.reverse()
    return torch.as_tensor(output)


@pytest.mark.parametrize(
    "way",
    [
        reduced,
        channels_last,
        *(pytest.param(way, marks=pytest.mark.slow) for way in (traced, other_flips)),
    ],
    ids=lambda way: way.__name__,
)
def test_row_50_same_labels(golden: Any, way: Callable[[Any, Any, Tensor], Tensor]) -> None:
    network, inferer, cases = golden
    assert len(cases) == 3
    if way is traced:  # for each size anew, which takes longest; the format is the same
        cases = cases[:1]
    for image, logits in cases:
        labels = logits.argmax(1)
        probabilities = logits.softmax(1)
        assert labels.unique().tolist() == [0, 1, 2]
        with torch.no_grad():
            output = way(network, inferer, image)
        if way is reduced:
            assert not torch.equal(output, logits)
        changed = output.argmax(1) != labels
        assert changed.float().mean() <= 1e-3
        # Only voxels on the edge between two classes change: float32 itself gives the best less
        # than 60 to 40.
        first, second = probabilities.topk(2, 1).values.unbind(1)
        assert not (changed & (first / (first + second) > 0.6)).any()


@pytest.mark.parametrize(
    ("asked", "inside"),
    [
        ("bfloat16_emulated", torch.bfloat16),
        ("float16_emulated", torch.float16),
        ("auto", torch.float32),
        (None, torch.float32),
    ],
)
def test_the_runner_computes_in_the_format_and_says_so(
    make_runner: Callable[..., BatchRunner],
    tmp_path: Path,
    kit: Any,
    asked: str | None,
    inside: torch.dtype,
) -> None:
    scan = kit.values((12, 10, 8))
    kit.write_nifti(tmp_path / "in" / "a.nii", scan)
    network, seen = kit.Sides(), []

    def look(*_: Any) -> None:
        seen.append(torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype)

    network.register_forward_hook(look)
    runner = make_runner(autocast_dtype=asked, network=network)
    assert [result.status for result in runner.run()] == ["done"]
    assert seen == [inside]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    says = None if inside is torch.float32 else str(inside).removeprefix("torch.")
    assert report["autocast_dtype"] == says
    mask = np.asarray(nib.load(tmp_path / "out" / "a_seg.nii.gz").dataobj)
    assert np.array_equal(mask, kit.expected(scan, np.eye(4)))


def test_the_runner_refuses_other_formats(make_runner: Callable[..., BatchRunner]) -> None:
    with pytest.raises(ConfigError, match="int8"):
        make_runner(autocast_dtype="int8")


def test_a_processor_without_the_format_runs_in_float32_and_the_report_says_so(
    make_runner: Callable[..., BatchRunner],
    tmp_path: Path,
    kit: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Check that it is the run of float32: one goes on where the other ended."""
    precision._say.cache_clear()
    monkeypatch.setattr(precision, "has_instructions", lambda *_: False)
    kit.write_nifti(tmp_path / "in" / "a.nii", kit.values((12, 10, 8)))
    seen: list[bool] = []
    runner = make_runner(autocast_dtype="bfloat16")
    runner.network.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    runner.run()
    assert seen == [False]
    assert sum("float32 is used" in record.getMessage() for record in caplog.records) == 1
    assert '"autocast_dtype": null' in (tmp_path / "out" / "report.json").read_text()
    again = make_runner(autocast_dtype=None)
    again.network.register_forward_hook(lambda *_: seen.append(True))
    assert [result.status for result in again.run()] == ["done"]
    assert len(seen) == 1
