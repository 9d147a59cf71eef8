"""Contrastive losses over two processes equal those of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from monai_semiseg.losses.contrastive import GlobalContrast, LocalContrast, SelfLocalContrast
from monai_semiseg.losses.gathered import gather_rows
from tests.two_processes import in_two_processes


def _losses(f: Tensor, y: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(6)  # of the grid
    half = len(f) // 2
    pooled = f.flatten(2).mean(2)
    return {
        "local": LocalContrast(0.2)(f, y),
        "in": LocalContrast(0.2, "in")(f, y),
        "block": LocalContrast(0.2, block=2)(f, y),
        "global": GlobalContrast()(pooled[:half], pooled[half:]),
        "self local": SelfLocalContrast(0.2, stride=2)(f[:half], f[half:]),
        "no foreground": LocalContrast()(f, torch.zeros_like(y)),
    }


def _whole() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    y = torch.randint(0, 3, (8, 1, 4, 4))
    y[4:6] = 0  # the second process has views without foreground
    return torch.randn(8, 3, 4, 4, dtype=torch.float64), y


def _rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    f, y = _whole()
    mine = [2 * rank, 2 * rank + 1, 4 + 2 * rank, 5 + 2 * rank]  # two scans, in both views
    result = {}
    for name in _losses(*_whole()):
        leaf = f[mine].clone().requires_grad_()
        loss = _losses(leaf, y[mine])[name]
        loss.backward()
        result[name] = [loss.detach(), leaf.grad]
    rows = _uneven()[2 * rank : 2 + 3 * rank].clone().requires_grad_()
    gathered, offset = gather_rows(rows)
    (gathered * (rank + 1) * torch.arange(5)[:, None]).sum().backward()
    result["uneven"] = [gathered.detach(), rows.grad]
    assert offset == 2 * rank
    assert gather_rows(torch.arange(2 + rank))[0].tolist() == [0, 1, 0, 1, 2]
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _uneven() -> Tensor:
    """Return rows of which the first process has two, the second three."""
    return torch.arange(10.0).reshape(5, 2)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    f, y = _whole()
    in_two_processes(_rank, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    # Both processes' gradients of a row, 1 and 2 times its place, come back to its owner.
    both = [result.pop("uneven") for result in results]
    assert all(torch.equal(gathered, _uneven()) for gathered, _ in both)
    gradient = torch.cat([gradient for _, gradient in both])
    assert torch.equal(gradient, 3.0 * torch.arange(5)[:, None].expand(5, 2))
    for name in results[0]:
        leaf = f.clone().requires_grad_()
        alone = _losses(leaf, y)[name]
        alone.backward()
        # DDP takes the mean of the processes' gradients; so does the loss that is shown.
        mean = (results[0][name][0] + results[1][name][0]) / 2
        torch.testing.assert_close(mean, alone.detach(), rtol=0, atol=1e-10)
        for rank in range(2):
            mine = [2 * rank, 2 * rank + 1, 4 + 2 * rank, 5 + 2 * rank]
            torch.testing.assert_close(
                results[rank][name][1] / 2, leaf.grad[mine], rtol=0, atol=1e-10
            )
