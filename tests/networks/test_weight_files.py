"""Files of weights: damaged, foreign and harmful ones are refused, and no code in them runs."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.weight_files import read_checkpoint, read_state_dict
from monai_semiseg.networks.weights import load_weights
from tests.networks.weight_builders import equal, net


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_with_their_name(
    tmp_path: Path, source: nn.Module, bad: float
) -> None:
    state = source.state_dict()
    state["2.weight"][0, 1] = bad
    torch.save(state, tmp_path / "w.pt")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(CheckpointError, match=r"2\.weight holds NaN or Inf"):
            read_state_dict(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_torn_files_are_refused(
    tmp_path: Path, source: nn.Module, suffix: str, share: float
) -> None:
    file = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(source.state_dict(), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="damaged") as caught:
        read_state_dict(file)
    assert str(file) in str(caught.value)


def test_a_flipped_bit_in_any_tensor_is_noticed(tmp_path: Path, source: nn.Module) -> None:
    """Check that a flipped bit is noticed; torch.load alone returns other weights silently."""
    file = tmp_path / "w.pt"
    torch.save(source.state_dict(), file)
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        heads = [info.header_offset for info in archive.infolist() if "/data/" in info.filename]
    assert len(heads) == len(source.state_dict())
    for head in heads:
        place = (
            head + 30 + sum(struct.unpack("<HH", whole[head + 26 : head + 30]))
        )  # after name and extra field
        content = bytearray(whole)
        content[place] ^= 1
        file.write_bytes(content)
        torch.load(file, weights_only=True)
        with pytest.raises(CheckpointError, match="damaged"):
            read_state_dict(file)


def test_random_damage_is_a_typed_error_or_harmless(tmp_path: Path, source: nn.Module) -> None:
    file = tmp_path / "w.pt"
    torch.save(source.state_dict(), file)
    whole = file.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(300):
        place, bit = (int(torch.randint(n, (1,), generator=generator)) for n in (len(whole), 8))
        content = bytearray(whole)
        content[place] ^= 1 << bit
        file.write_bytes(content)
        try:
            assert equal(read_state_dict(file), source.state_dict())
        except CheckpointError:
            refused += 1
    assert 100 < refused < 300


class Payload:
    """Object that runs code when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.safetensors"])
def test_code_in_weights_is_refused_and_not_executed(
    tmp_path: Path, source: nn.Module, name: str, nested: bool
) -> None:
    proof = tmp_path / "executed"
    file = tmp_path / name
    payload = Payload(proof)
    torch.save(
        {"network": source.state_dict(), "optimizer": {"state": payload}} if nested else payload,
        file,
    )
    with pytest.raises(CheckpointError):
        load_weights(net(), file)
    file.write_bytes(pickle.dumps(payload))
    with pytest.raises(CheckpointError):
        load_weights(net(), file)
    assert not proof.exists()
    pickle.loads(file.read_bytes())
    assert proof.exists(), "the payload works where it is not refused"


def test_torchscript_is_refused(tmp_path: Path, source: nn.Module) -> None:
    torch.jit.script(source).save(str(tmp_path / "w.pt"))
    with pytest.raises(CheckpointError, match="damaged, or more than tensors"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), "text", 5], ids=type)
def test_content_that_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=f"holds a {type(content).__name__}"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["nowhere.pt", "."])
def test_absent_weights(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="no weights found"):
        read_checkpoint(tmp_path / name)


def test_a_pickled_network_is_named_and_refused_with_what_to_do(
    tmp_path: Path, source: nn.Module
) -> None:
    torch.save(source, tmp_path / "w.pt")
    torch.save({"model": source}, tmp_path / "nested.pt")
    for name in ("w.pt", "nested.pt"):
        with pytest.raises(CheckpointError, match=r"holds a pickled torch\.nn\.[\w.]+") as caught:
            read_state_dict(tmp_path / name)
        assert "torch.save(network.state_dict()" in caught.value.remedy


def test_a_checkpoint_without_a_network_names_what_it_holds(tmp_path: Path) -> None:
    torch.save({"student": {"a": torch.ones(1)}, "epoch": 4}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="no tensors under its keys student, epoch"):
        read_state_dict(tmp_path / "w.pt")
