"""Networks of nnU-Net's plans, against nnU-Net's own builder."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.nnunet import nnunet_network
from tests.nnunet_builders import architecture

pytest.importorskip("nnunetv2")


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_is_the_one_that_nnunet_builds(kind: str, dims: int) -> None:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    block = architecture(kind, dims)
    torch.manual_seed(0)
    theirs = get_network_from_plans(
        block["network_class_name"],
        block["arch_kwargs"],
        block["_kw_requires_import"],
        3,
        4,
        deep_supervision=True,
    )
    torch.manual_seed(0)
    ours = nnunet_network(block, 3, 4, deep_supervision=True)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    assert all(torch.equal(mine[name], other[name]) for name in other)  # the start, too
    images = torch.rand(1, 3, *[8] * dims)
    outputs = ours(images)
    assert [tuple(one.shape[1:]) for one in outputs] == [(4, *[8] * dims)]
    assert torch.equal(outputs[0], theirs(images)[0])


def _changed(**changes: Any) -> dict[str, Any]:
    block = architecture()
    block["arch_kwargs"] |= changes
    return block


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (_changed(conv_op="os.system"), "a layer os.system"),
        (_changed(conv_op="torch.nn.init.xavier_normal_"), "a layer torch.nn.init"),
        (_changed(strides=[[1, 1, 1]]), "cannot be built"),
        (_changed(depth=3), "cannot be built"),
        ({"network_class_name": "dynamic_network_architectures.Primus"}, "a network Primus"),
    ],
    ids=["other_package", "function", "strides", "argument", "primus"],
)
def test_other_networks_are_refused(block: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        nnunet_network(block, 1, 2)
