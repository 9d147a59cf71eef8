"""Time and memory of a Hebbian update and of a Hebbian training step."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import Tensor, nn

from monai_semiseg.benchmarks.measure import add_output, announce, compare, table, write_csv
from monai_semiseg.hebbian.geometry import Geometry
from monai_semiseg.hebbian.learner import HebbianLearner
from monai_semiseg.hebbian.plasticity import observe, terms
from monai_semiseg.hebbian.rules import HebbianPCA, Rule, SoftHebb, SoftWinnerTakeAll


def unfolded(images: Tensor, output: Tensor, weight: Tensor, inverse_temperature: float) -> Tensor:
    """Compute SWTA as textbooks do: unfold all patches, then one matrix product."""
    patches = nn.functional.pad(images, [1] * 6)
    for axis in (2, 3, 4):
        patches = patches.unfold(axis, 3, 1)
    columns = patches.permute(0, 1, 5, 6, 7, 2, 3, 4).reshape(len(images), weight[0].numel(), -1)
    matrix = columns.transpose(1, 2).reshape(-1, weight[0].numel())  # sites x patch
    responses = output.flatten(2).permute(0, 2, 1).flatten(0, 1)
    shares = torch.softmax(inverse_temperature * responses, 1)
    return (shares.T @ matrix - shares.sum(0)[:, None] * weight.flatten(1)) / len(matrix)


def updates(size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return updates of a 32 -> 32 convolution with kernel 3 on 2 x 32 x size^3.

    The forward pass is not included.
    """
    layer = nn.Conv3d(32, 32, 3, padding=1, device=device)
    images = torch.randn(2, 32, size, size, size, device=device)
    geometry = Geometry.of(layer)
    weight = layer.weight.detach()
    with torch.no_grad():
        output = layer(images)
    rules: list[Rule] = [SoftWinnerTakeAll(), HebbianPCA(), SoftHebb()]

    def ours(rule: Rule) -> Callable[[], object]:
        return lambda: terms(rule, observe(rule, geometry, images, output), weight)

    def textbook() -> object:
        with torch.no_grad():
            return unfolded(images, output, weight, 5.0)

    return {"unfold": textbook, **{type(rule).__name__: ours(rule) for rule in rules}}


def network_steps(size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return steps of a MONAI UNet on 2 x 1 x size^3: supervised, and Hebbian by every rule."""
    torch.manual_seed(0)
    images = torch.randn(2, 1, size, size, size, device=device)
    labels = torch.randint(0, 2, images.shape, device=device)

    def fresh() -> nn.Module:
        network: nn.Module = UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2), num_res_units=2)
        return network.to(device)

    def supervised() -> Callable[[], object]:
        network = fresh()
        loss = DiceCELoss(to_onehot_y=True, softmax=True)
        optimizer = torch.optim.AdamW(network.parameters())

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss(network(images), labels).backward()
            optimizer.step()

        return step

    def hebbian(rule: Rule) -> Callable[[], object]:
        network = fresh()
        learner = HebbianLearner(network, rule)
        learner.prepare()
        learner.attach()

        def step() -> None:
            with torch.no_grad():
                network(images)
            learner.step(0.01)

        return step

    rules: list[Rule] = [SoftWinnerTakeAll(), HebbianPCA()]
    return {"supervised": supervised(), **{type(rule).__name__: hebbian(rule) for rule in rules}}


def main() -> None:
    """Print two tables and write two CSV files."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=48, help="side of the update's input, voxels")
    parser.add_argument(
        "--network_size", type=int, default=64, help="side of the network's input, voxels"
    )
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    turn = 3 * (args.size / 48) ** 3 + 2 * (args.network_size / 64) ** 3
    announce((2 + args.repeat) * turn)
    device = torch.device(args.device)
    for name, ways, reference in (
        ("hebbian_update", updates(args.size, device), "unfold"),
        ("hebbian_step", network_steps(args.network_size, device), "supervised"),
    ):
        rows = compare(ways, args.repeat)
        write_csv(rows, args.output / f"{name}.csv")
        sys.stdout.write(f"{name}\n{table(rows, reference)}{args.output / name}.csv\n\n")


if __name__ == "__main__":
    main()
