"""Loading of weights: what fits is loaded and counted, and the rest is named."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet
from safetensors.torch import save_file
from torch import nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.weight_files import read_state_dict
from monai_semiseg.networks.weights import load_weights, match_weights, named_alike, unwrapped
from tests.networks.weight_builders import State, equal, net, prefixed

FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "data parallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "compiled data parallel": lambda state: prefixed(state, "_orig_mod.module."),
    "data parallel of compiled": lambda state: prefixed(state, "module._orig_mod."),
    "under network": lambda state: {"network": state, "iteration": 3, "best": [0.5, 0.6]},
    "under model": lambda state: {"model": prefixed(state, "module."), "epoch": 1},
    "under state_dict": lambda state: {"state_dict": state},
    "with a number beside": lambda state: {**state, "epoch": 4},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_state_dict_is_read(tmp_path: Path, source: nn.Module, form: str) -> None:
    torch.save(FORMS[form](source.state_dict()), tmp_path / "w.pt")
    assert equal(read_state_dict(tmp_path / "w.pt"), source.state_dict())
    target = net()
    match = load_weights(target, tmp_path / "w.pt", strict=True)
    assert equal(target.state_dict(), source.state_dict())
    assert (len(match.loaded), match.missing, match.unused) == (len(source.state_dict()), (), ())


def test_safetensors(tmp_path: Path, source: nn.Module) -> None:
    save_file(prefixed(source.state_dict(), "module."), tmp_path / "w.safetensors")
    target = net()
    load_weights(target, tmp_path / "w.safetensors", strict=True)
    assert equal(target.state_dict(), source.state_dict())


class Wrapped(nn.Module):
    """Wrapper like DistributedDataParallel and compiled modules."""

    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        setattr(self, name, inner)


def test_wrapped_networks_are_looked_through(tmp_path: Path, source: nn.Module) -> None:
    torch.save(source.state_dict(), tmp_path / "w.pt")
    for names in (["module"], ["_orig_mod"], ["module", "_orig_mod"], ["_orig_mod", "module"]):
        inner = net()
        outer = inner
        for name in names:
            outer = Wrapped(outer, name)
        load_weights(outer, tmp_path / "w.pt", strict=True)
        assert equal(inner.state_dict(), source.state_dict())
        assert unwrapped(outer) is inner
    assert unwrapped(source) is source


def test_partial_match_is_loaded_counted_and_logged(
    tmp_path: Path, source: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    state = {**source.state_dict(), "2.weight": torch.ones(5, 3, 1, 1, 1), "extra": torch.ones(2)}
    state.pop("1.running_mean")
    torch.save(state, tmp_path / "w.pt")
    target = net()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with caplog.at_level(logging.INFO):
        match = load_weights(target, tmp_path / "w.pt")
    after = target.state_dict()
    assert match.missing == ("1.running_mean", "2.weight")
    assert set(match.unused) == {"2.weight", "extra"}
    assert all(torch.equal(after[name], source.state_dict()[name]) for name in match.loaded)
    assert all(torch.equal(after[name], before[name]) for name in match.missing)
    assert (
        "7 of 9 tensors loaded; missing or of another shape: 1.running_mean, 2.weight"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("change", "strict", "words"),
    [
        (lambda state: prefixed(state, "student."), False, "0 of 9 tensors"),
        (lambda state: {}, False, "0 of 9 tensors"),
        (
            lambda state: {name: value for name, value in state.items() if name != "2.bias"},
            True,
            "8 of 9.*2.bias",
        ),
        (lambda state: {**state, "3.weight": torch.ones(1)}, True, "not used: 3.weight"),
        (lambda state: {**state, "0.bias": torch.ones(7)}, True, "another shape: 0.bias"),
    ],
)
def test_weights_of_another_network_are_refused(
    tmp_path: Path, source: nn.Module, change: Callable[[State], State], strict: bool, words: str
) -> None:
    torch.save(change(source.state_dict()), tmp_path / "w.pt")
    target = net()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=words) as caught:
        load_weights(target, tmp_path / "w.pt", strict=strict)
    assert str(tmp_path / "w.pt") in str(caught.value)
    assert equal(target.state_dict(), before)


FOREIGN: dict[str, tuple[Callable[[State], Any], str]] = {
    "Lightning": (
        lambda state: {"epoch": 3, "state_dict": prefixed(state, "model.")},
        "under 'state_dict' are used.*'model.' is removed from 9 names",
    ),
    "Lightning with a loss that has weights": (
        lambda state: {"state_dict": {**prefixed(state, "net."), "loss.weight": torch.ones(2)}},
        "'net.' is removed from 9 names; 1 others are left out",
    ),
    "Lightning, compiled": (
        lambda state: {"state_dict": prefixed(state, "model._orig_mod.")},
        "'model.' is removed",
    ),
    "a module in a module": (
        lambda state: {"state_dict": prefixed(state, "network.model.")},
        "'network.model.' is removed",
    ),
    "a tutorial": (
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
        "under 'model_state_dict' are used",
    ),
    "nnU-Net": (
        lambda state: {"network_weights": prefixed(state, "module."), "current_epoch": 2},
        "under 'network_weights' are used",
    ),
    "an average alone": (lambda state: {"ema": state}, "under 'ema' are used"),
    "two deep": (
        lambda state: {"model": {"state_dict": state}},
        "under 'model/state_dict' are used",
    ),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_checkpoints_of_other_trainings_are_unwrapped_with_a_line(
    tmp_path: Path, source: nn.Module, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = FOREIGN[form]
    torch.save(make(source.state_dict()), tmp_path / "w.pt")
    target = net()
    load_weights(target, tmp_path / "w.pt", strict=True)
    assert equal(target.state_dict(), source.state_dict())
    assert re.search(words, " ".join(record.getMessage() for record in caplog.records))


@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_a_network_whose_own_names_begin_as_a_prefix_does_keeps_them(prefix: str) -> None:
    """Check that names of MONAI's UNet, which all begin with ``model.``, are kept."""
    network = UNet(3, 1, 2, channels=(2, 4), strides=(2,))
    state = prefixed(network.state_dict(), prefix.replace("module.", ""))
    assert equal(named_alike(network, state), network.state_dict())
    assert not match_weights(network, named_alike(network, state)).missing


def test_other_classes_are_refused_with_both_shapes(tmp_path: Path, source: nn.Module) -> None:
    torch.save({**source.state_dict(), "2.bias": torch.ones(5)}, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError, match=r"2\.bias is 5 in the file, 2 in the network"
    ) as caught:
        load_weights(net(), tmp_path / "w.pt", strict=True)
    assert "--plan" in caught.value.remedy and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        ((3, 1), (3, 4), "kernels of 1 channel repeated for 4 and divided by 4"),
        ((2, 3), (2, 1), "kernels of 3 channels summed for 1"),
        ((2, 1), (3, 1), "2-D kernels for 3-D"),
        (
            (3, 1),
            (2, 3),
            "3-D kernels for 2-D; kernels of 1 channel repeated for 3 and divided by 3",
        ),
    ],
    ids=str,
)
def test_a_start_is_fitted_with_a_line_for_each_tensor_and_an_evaluation_is_not(
    tmp_path: Path,
    before: tuple[int, int],
    now: tuple[int, int],
    line: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, target = (BasicUNet(*kind, 3, (4, 4, 4, 4, 4, 4)) for kind in (before, now))
    file = tmp_path / "weights.pt"
    torch.save(source.state_dict(), file)
    match = load_weights(target, file)
    assert not match.missing and not match.unused
    own = target.state_dict()
    others = [key for key, value in source.state_dict().items() if value.shape != own[key].shape]
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split()[1] for text in lines] == others
    assert any(f"is fitted to the network: {line} (" in text for text in lines)
    with pytest.raises(CheckpointError, match="do not fit the network"):
        load_weights(target, file, strict=True)
