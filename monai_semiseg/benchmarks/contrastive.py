"""Time and memory of the streamed contrastive loss, against a loss that holds all pairs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from monai_semiseg.benchmarks.measure import Row, add_output, announce, compare, table, write_csv
from monai_semiseg.losses.supervised_contrast import contrast


def dense(embeddings: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """Compute supervised contrast as usual: N x N logits, masks of positives and of self."""
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    positive = (groups[:, None] == groups[None]) & ~itself
    log_share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    each = -(log_share * positive).sum(1) / positive.sum(1).clamp_min(1)
    return each[positive.any(1)].mean()


def streamed(embeddings: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """Compute the same loss by this package."""
    total, count = contrast(embeddings, groups, temperature=temperature)
    return total / count


def way(
    loss: Callable[[Tensor, Tensor, float], Tensor], rows: Tensor, groups: Tensor
) -> Callable[[], object]:
    """Return a call of one forward and backward pass."""

    def run() -> None:
        leaf = rows.detach().requires_grad_()
        torch.autograd.backward(loss(leaf, groups, 0.1))

    return run


def agreement(count: int, dimension: int) -> tuple[float, float]:
    """Compute the largest difference of both forms in float64: of the value, of the gradient."""
    rows, groups = data(count, dimension, torch.device("cpu"))
    results = []
    for loss in (dense, streamed):
        leaf = rows.double().requires_grad_()
        value = loss(leaf, groups, 0.1)
        torch.autograd.backward(value)
        results.append((value.detach(), leaf.grad))
    (one, one_gradient), (other, other_gradient) = results
    difference = torch.as_tensor(one_gradient) - torch.as_tensor(other_gradient)
    return float((one - other).abs()), float(difference.abs().max())


def data(count: int, dimension: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw random embeddings of three classes."""
    torch.manual_seed(0)
    rows = torch.randn(count, dimension, device=device)
    return rows, torch.randint(0, 3, (count,), device=device)


def main() -> None:
    """Print and write: agreement, the comparison at one size, and time and memory over sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=8192, help="embeddings in the comparison")
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2048, 8192, 32768, 65536, 131072])
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    pairs = 2 * (2 + args.repeat) * args.size**2 + 3 * sum(size**2 for size in args.sizes)
    announce(7e-9 * pairs)
    device = torch.device(args.device)
    value, gradient = agreement(min(args.size, 1024), args.dimension)
    sys.stdout.write(f"float64: value differs by {value:.1e}, gradient by {gradient:.1e}\n\n")
    inputs = data(args.size, args.dimension, device)
    rows = compare({"dense": way(dense, *inputs), "streamed": way(streamed, *inputs)}, args.repeat)
    write_csv(rows, args.output / "contrastive.csv")
    sys.stdout.write(f"{args.size} embeddings\n{table(rows, 'dense')}\n")
    grown: list[Row] = []
    for size in args.sizes:
        (row,) = compare({str(size): way(streamed, *data(size, args.dimension, device))}, 1)
        grown.append(row)
    if grown:
        write_csv(grown, args.output / "contrastive_sizes.csv")
        sys.stdout.write(f"streamed, by number of embeddings\n{table(grown, grown[0].name)}")


if __name__ == "__main__":
    main()
