"""Memory that runs out: the labels stay the same, and what cannot fit is refused before the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError, MemoryLimitError
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.inferers import out_of_memory as fallback_module
from monai_semiseg.inferers.out_of_memory import OutOfMemoryFallback
from monai_semiseg.inferers.tta import TTAInferer


class Hungry(nn.Module):
    """A convolution that has no memory for more than so many windows at once."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv3d(1, 2, 3, padding=1)
        self.most, self.error, self.batches = most, error, []  # type: int, type[Exception], list[int]

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        if len(x) > self.most:
            raise self.error("CUDA out of memory. Tried to allocate")
        out: Tensor = self.layer(x)
        return out


def windows(batch: int = 4) -> SlidingWindowInferer:
    return SlidingWindowInferer(
        roi_size=(8, 8, 8), sw_batch_size=batch, overlap=0.5, mode="gaussian"
    )


@torch.inference_mode()
@pytest.mark.parametrize(
    "wrap", [lambda i: i, lambda i: TTAInferer(i, [0])], ids=["plain", "mirrored"]
)
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_one_window_at_a_time_gives_the_same_labels(
    wrap: Callable[[Any], Inferer], error: type[Exception]
) -> None:
    images = torch.randn(1, 1, 13, 11, 9)
    expected = wrap(windows())(images, Hungry(99))
    poor, inferer = Hungry(1, error), windows()
    fallback = OutOfMemoryFallback(wrap(inferer), 2)
    found = fallback(images, poor)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert torch.equal(found.argmax(1), torch.as_tensor(expected).argmax(1))
    assert poor.batches[0] == 4 and set(poor.batches[1:]) == {1}
    assert inferer.sw_batch_size == 4 and inferer.device is None  # as it was
    fallback(images, poor)
    assert poor.batches.count(4) == 1  # what worked is tried first for the next scan


def test_the_gpus_steps_keep_the_sums_on_the_cpu_first() -> None:
    steps = OutOfMemoryFallback(windows(), 2).steps(torch.device("cuda"))
    cpu = torch.device("cpu")
    assert steps == [{}, {"device": cpu}, {"device": cpu, "sw_batch_size": 1}]


@pytest.mark.parametrize("inferer", [windows(), SimpleInferer()])
def test_the_end_of_the_fallback(inferer: Inferer) -> None:
    with pytest.raises(MemoryLimitError, match="9 x 9 x 9 voxels"):
        OutOfMemoryFallback(inferer, 2)(torch.zeros(1, 1, 9, 9, 9), Hungry(0))


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        OutOfMemoryFallback(windows(), 2)(torch.zeros(1, 3, 9, 9, 9), Hungry(9))


def test_what_cannot_fit_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make_runner: Callable[..., BatchRunner],
    kit: SimpleNamespace,
) -> None:
    images = torch.zeros(1, 1, 100, 100, 100)
    fallback, net = OutOfMemoryFallback(windows(), 100), Hungry(9)
    assert 2 * 100 * 4e6 <= fallback.needed(images) <= 3 * 100 * 4e6
    monkeypatch.setattr(fallback_module, "available_memory", lambda: 2**20)
    with pytest.raises(MemoryLimitError, match=r"needs 0\.8 GiB"):
        fallback(images, net)
    assert not net.batches
    kit.write_nifti(tmp_path / "in" / "small.nii.gz", kit.values((6, 5, 4)))
    kit.write_nifti(tmp_path / "in" / "large.nii.gz", kit.values((70, 60, 50)))
    large, small = make_runner().run()
    assert (large.status, large.code, small.status) == ("failed", "E_MEMORY", "done")
    assert "large.nii.gz" in large.reason


@pytest.mark.parametrize(
    "settings", [{"overlap": 1.0}, {"overlap": -0.1}, {"roi_size": (8, 0, 8)}, {"sw_batch_size": 0}]
)
def test_windows_that_cannot_be_stop_before_any_work(
    settings: dict[str, Any],
    tmp_path: Path,
    make_runner: Callable[..., BatchRunner],
    kit: SimpleNamespace,
) -> None:
    kit.write_nifti(tmp_path / "in" / "a.nii.gz", kit.values((6, 5, 4)))
    inferer = windows()
    for name, value in settings.items():
        setattr(inferer, name, value)
    with pytest.raises(ConfigError, match=r"overlap|windows"):
        make_runner(inferer=TTAInferer(inferer, [0])).run()
    assert not (tmp_path / "out").exists()
