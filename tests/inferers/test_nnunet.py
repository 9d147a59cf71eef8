"""The sliding window of nnU-Net."""

from __future__ import annotations

import pytest
import torch

from monai_semiseg.inferers.nnunet import NnunetInferer
from monai_semiseg.networks.nnunet import nnunet_network
from tests.nnunet_builders import architecture, dataset_content, plans_content

pytest.importorskip("nnunetv2")


@pytest.mark.parametrize(("name", "dims", "axes"), [("2d", 2, (0,)), ("3d_fullres", 3, (0, 2))])
def test_windows_are_those_of_nnunet(
    name: str, dims: int, axes: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.manual_seed(0)
    network = nnunet_network(architecture(dims=dims), 1, 2).eval()
    images = torch.rand(1, 1, 11, 23, 9)  # larger than the patch, and smaller
    ours = NnunetInferer(plans_content(), name, dataset_content(), axes)(images, network)
    assert not capsys.readouterr().out

    plans = PlansManager(plans_content())
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    settings = plans.get_configuration(name)
    predictor.manual_initialization(
        network, plans, settings, [network.state_dict()], dataset_content(), "nnUNetTrainer", axes
    )
    theirs = predictor.predict_logits_from_preprocessed_data(images[0])
    assert ours.shape == (1, 2, 11, 23, 9)
    assert torch.equal(ours[0], theirs)
    plain = NnunetInferer(plans_content(), name, dataset_content())(images, network)
    assert not torch.equal(plain, ours)
    both = torch.cat([images.flip(2), images])
    found = NnunetInferer(plans_content(), name, dataset_content(), axes)(both, network)
    assert torch.equal(found[1:], ours) and not torch.equal(found[:1], ours)
