"""Networks as files of other programs, compared with the network before the file appears."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError, OutputError
from monai_semiseg.networks import exchange
from monai_semiseg.networks.exchange import export_network
from tests.network_zoo import build, patch_of

SMALL = ["AttentionUnet", "DynUNet", "SegResNet"]
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("BasicUNetPlusPlus", "SwinUNETR")]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_torchscript_and_safetensors(name: str, dims: int, tmp_path: Path) -> None:
    network, image = build(name, dims), torch.randn(1, 1, *patch_of(name, dims))
    script = export_network(network, image, tmp_path / "n.ts", "torchscript")
    weights = export_network(network, image, tmp_path / "n.safetensors", "safetensors")
    assert network.training, "the network itself stays as it is"
    with torch.no_grad():
        output = network.eval()(image)
        expected = output[-1] if isinstance(output, list) else output
        torch.testing.assert_close(torch.jit.load(script.path)(image), expected)
    assert script.difference <= 1e-4 and weights.difference == 0
    state = load_file(weights.path)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("dims", [2, 3])
def test_onnx(dims: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Export to ONNX, which needs the extra ``export``; its exporter tells the user nothing."""
    for package in exchange.PACKAGES["onnx"]:
        pytest.importorskip(package)
    image = torch.randn(1, 1, *patch_of("SegResNet", dims))
    made = export_network(build("SegResNet", dims), image, tmp_path / "n.onnx", "onnx")
    assert "[torch.onnx]" not in capfd.readouterr().out
    assert made.difference < 1e-3 and list(tmp_path.iterdir()) == [made.path]


def test_the_extra_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"onnxruntime[\s\S]*monai_semiseg\[export\]"):
        export_network(nn.Identity(), torch.zeros(1, 1, 4, 4), tmp_path / "n.onnx", "onnx")


def test_a_file_with_other_logits_never_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(network: nn.Module, image: Tensor, part: Path) -> tuple[str, Tensor]:
        part.write_bytes(b"something")
        return "wrong", network(image) + 1

    monkeypatch.setitem(exchange._WRITERS, "torchscript", wrong)
    with pytest.raises(OutputError, match="logits differ by 1"):
        export_network(
            nn.Conv2d(1, 2, 1), torch.randn(1, 1, 4, 4), tmp_path / "n.ts", "torchscript"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [("torchscript", "n.onnx", "ends in .ts"), ("keras", "n.h5", "one of torchscript")],
)
def test_other_formats_and_names(kind: str, name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        export_network(nn.Identity(), torch.zeros(1, 1, 4, 4), tmp_path / name, kind)
