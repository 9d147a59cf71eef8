"""Training in bfloat16 on a CPU: correct gradients, and a result close to float32."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers import precision
from monai_semiseg.handlers.precision import SafeConvolutions, autocast_type, training_precision

CPU = torch.device("cpu")

# In a process of its own, whose freed memory glibc fills: what reads memory that nobody wrote gets
# 1e13 there.
GRADIENTS = """
import sys
from tests.handlers.test_precision import largest_error
sys.exit(largest_error())
"""


def gradients(
    layer: nn.Module, image: Tensor, upstream: Tensor, dtype: torch.dtype | None
) -> list[Tensor]:
    leaf = image.clone().requires_grad_()
    with training_precision(CPU, dtype):
        out = layer(leaf)
    return [
        g.float()
        for g in torch.autograd.grad(out, [leaf, *layer.parameters()], upstream.to(out.dtype))
    ]


def largest_error() -> str | None:
    """Return the first convolution whose bfloat16 gradients differ by more than 3 %, or None."""
    torch.manual_seed(0)
    for size, kernel in itertools.product(
        itertools.product((1, 2, 3, 4), (2, 5), (1, 3)), (1, 3, 5)
    ):
        layer = nn.Conv3d(16, 16, kernel, padding=kernel // 2)
        image = torch.randn(2, 16, *size)
        upstream = torch.randn(2, 16, *size)
        exact, found = (
            gradients(layer, image, upstream, dtype) for dtype in (None, torch.bfloat16)
        )
        for true, value in zip(exact, found, strict=True):
            if not float((true - value).abs().max()) <= 0.03 * float(true.abs().max()):
                return f"{size} kernel {kernel}"
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="MALLOC_PERTURB_ is glibc's")
@pytest.mark.slow
def test_gradients_of_short_inputs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).resolve().parents[2],
        env={"MALLOC_PERTURB_": "85", "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_only_short_convolutions_stay_in_float32(depth: int) -> None:
    layer = nn.Conv3d(4, 8, 3, padding=1)
    image = torch.randn(2, 4, depth, 6, 5)
    with torch.autocast("cpu", torch.bfloat16), SafeConvolutions():
        assert layer(image).dtype is (torch.float32 if depth < 3 else torch.bfloat16)
        by_name = nn.functional.conv3d(
            image.bfloat16(), weight=layer.weight, bias=layer.bias, padding=1
        )
        assert by_name.dtype is layer(image).dtype
        assert nn.Conv2d(4, 8, 3)(image[:, :, 0]).dtype is torch.bfloat16


def test_no_precision_is_no_autocast() -> None:
    with training_precision(CPU, None):
        assert not torch.is_autocast_enabled("cpu")
    with training_precision(CPU, torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_a_network_trains_alike() -> None:
    """Check that the loss falls as in float32, for a lowest stage of 2 x 2 x 2 voxels."""
    ends = []
    for dtype in (None, torch.bfloat16):
        torch.manual_seed(0)
        network = BasicUNet(3, 1, 2, features=(4, 4, 8, 8, 16, 4))
        optimizer = torch.optim.AdamW(network.parameters(), 0.01)
        image = torch.randn(2, 1, 32, 32, 32)
        label = (nn.functional.avg_pool3d(image, 5, 1, 2) > 0)[:, 0].long()
        for _ in range(12):
            optimizer.zero_grad()
            with training_precision(CPU, dtype):
                logits = network(image)
            loss = nn.functional.cross_entropy(logits.float(), label)
            loss.backward()
            optimizer.step()
        ends.append(float(loss))
    assert ends[0] < 0.5 and abs(ends[1] - ends[0]) < 0.1 * ends[0]


def test_names() -> None:
    assert autocast_type(None, CPU) is None
    with pytest.raises(ConfigError, match="int8"):
        autocast_type("int8", CPU)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the CPU's capabilities by another one's."""

    def answer(onednn: bool, **instructions: bool) -> None:
        precision._say.cache_clear()
        for short in ("bf16", "fp16"):
            name = f"_is_mkldnn_{short}_supported"
            monkeypatch.setattr(torch.ops.mkldnn, name, lambda: onednn, raising=False)
        there = {"cpu_name": "Old CPU", **instructions}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there)

    return answer


@pytest.mark.parametrize(
    ("name", "onednn", "instructions", "native"),
    [
        ("bfloat16", True, {"avx512_bf16": True}, True),
        ("bfloat16", True, {"amx_bf16": True, "avx512_bf16": False}, True),
        ("bfloat16", True, {"bf16": True}, True),
        ("bfloat16", True, {"avx512_f": True, "avx512_bf16": False}, False),
        ("bfloat16", False, {"avx512_bf16": True}, False),
        ("float16", True, {"avx512_bf16": True, "avx512_fp16": False}, False),
        ("float16", True, {"avx512_fp16": True}, True),
        ("float16", False, {"fp16_arith": True}, False),
    ],
)
def test_the_processor_is_asked_first(
    processor: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    name: str,
    onednn: bool,
    instructions: dict[str, bool],
    native: bool,
) -> None:
    processor(onednn, **instructions)
    for _ in range(2):
        assert autocast_type(name, CPU) is (getattr(torch, name) if native else None)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (0 if native else 1)  # one line, however often it is asked
    assert native or ("Old CPU" in said[0] and name in said[0] and "float32" in said[0])
    assert autocast_type(f"{name}_emulated", CPU) is getattr(torch, name)
    assert autocast_type("auto", CPU) is None
    assert len(caplog.records) == len(said)


@pytest.mark.parametrize("native", [True, False])
def test_a_training_asks_too(processor: Callable[..., None], native: bool) -> None:
    processor(native, avx512_bf16=native)
    network = nn.Conv3d(1, 2, 3)
    trainer = SemiSupervisedTrainer(
        device=CPU,
        max_epochs=1,
        epoch_length=1,
        train_data_loader=[],
        network=network,
        optimizer=torch.optim.AdamW(network.parameters()),
        loss_function=nn.CrossEntropyLoss(),
        autocast_dtype="bfloat16",
    )
    assert trainer.autocast_dtype is (torch.bfloat16 if native else None)


@pytest.mark.parametrize("modern", [True, False])
def test_a_gpu_is_asked_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, modern: bool
) -> None:
    precision._say.cache_clear()
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: modern or including_emulation,
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Old GPU")
    assert autocast_type("auto", "cuda:0") is (torch.bfloat16 if modern else torch.float16)
    assert not caplog.records
    assert autocast_type("bfloat16", "cuda:0") is (torch.bfloat16 if modern else None)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (0 if modern else 1) and all("Old GPU" in line for line in said)
    assert autocast_type("float16", "cuda:0") is torch.float16
    assert autocast_type(None, "cuda:0") is None
