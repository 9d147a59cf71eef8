"""Bundles with MONAI's own tools: verification of metadata and networks, export."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.weights import load_weights
from monai_semiseg.storage.files import sha256_of

from .conftest import BUNDLES

SCHEMA = Path(__file__).with_name("metadata_schema.json")
Raw = Callable[[Path, str], dict[str, Any]]


# Fields of MONAI's meta_schema_20240725.json with their types, and those that it requires.
PUBLISHED = {
    "schema": str,
    "version": str,
    "changelog": dict,
    "monai_version": str,
    "pytorch_version": str,
    "numpy_version": str,
    "required_packages_version": dict,
    "task": str,
    "description": str,
    "authors": str,
    "copyright": str,
    "data_source": str,
    "data_type": str,
    "image_classes": str,
    "label_classes": str,
    "pred_classes": str,
    "eval_metrics": dict,
    "intended_use": str,
    "references": list,
    "supported_apps": dict,
    "network_data_format": dict,
}
TENSOR = {
    "type": str,
    "format": str,
    "num_channels": int,
    "spatial_shape": list,
    "dtype": str,
    "value_range": list,
    "is_patch_data": bool,
    "channel_def": dict,
}
OPTIONAL = {
    *("changelog", "data_source", "data_type", "image_classes", "label_classes", "pred_classes"),
    *("eval_metrics", "intended_use", "references", "supported_apps"),
}


def test_metadata_has_the_fields_of_the_published_schema(bundle: Path, raw: Raw) -> None:
    """Check the fields' types; our schema must require no less."""
    meta = raw(bundle, "metadata")
    assert meta["schema"].endswith("/meta_schema_20240725.json")
    assert PUBLISHED.keys() - OPTIONAL <= meta.keys()
    wrong = [key for key, kind in PUBLISHED.items() if not isinstance(meta.get(key, kind()), kind)]
    assert wrong == []
    assert all(isinstance(reference, str) for reference in meta["references"])
    form = meta["network_data_format"]
    assert form.keys() <= {"inputs", "outputs", "post_processed_outputs"}
    for tensor in (*form["inputs"].values(), *form["outputs"].values()):
        assert [key for key, kind in TENSOR.items() if type(tensor[key]) is not kind] == []
        assert all(isinstance(size, str | int) for size in tensor["spatial_shape"])
        assert all(isinstance(bound, int | float) for bound in tensor["value_range"])
    ours = json.loads(SCHEMA.read_text())
    assert PUBLISHED.keys() - OPTIONAL <= set(ours["required"])
    assert PUBLISHED.keys() <= ours["properties"].keys()
    assert TENSOR.keys() <= set(ours["$defs"]["tensor"]["required"])


def test_verify_metadata(bundle: Path, tmp_path: Path) -> None:
    """Verify with a local schema at the path of MONAI's download."""
    meta = bundle / "configs" / "metadata.json"
    schema = shutil.copy(SCHEMA, tmp_path / "schema.json")
    monai.bundle.verify_metadata(meta_file=str(meta), filepath=str(schema))
    for missing in ("version", "network_data_format"):
        broken = {
            key: value for key, value in json.loads(meta.read_text()).items() if key != missing
        }
        (tmp_path / "broken.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=f"'{missing}' is a required property"):
            monai.bundle.verify_metadata(
                meta_file=str(tmp_path / "broken.json"), filepath=str(schema)
            )


COLOURS = {1: ["image"], 3: ["red", "green", "blue"]}


def described(meta: dict[str, Any], dims: int, channels: list[str]) -> dict[str, Any]:
    """Return metadata of a bundle for a network of other dimensions and channels."""
    described = copy.deepcopy(meta)
    form = described["network_data_format"]
    names = {str(number): name for number, name in enumerate(channels)}
    form["inputs"]["image"] |= {"num_channels": len(channels), "channel_def": names}
    for tensor in (form["inputs"]["image"], form["outputs"]["pred"]):
        tensor["spatial_shape"] = ["32*n"] * dims
    return described


@pytest.mark.parametrize("config", ["train", "inference", "evaluate"])
def test_metadata_describes_channels_classes_and_dimensions(
    bundle: Path, config: str, raw: Raw
) -> None:
    content = ConfigParser(raw(bundle, config))
    form = raw(bundle, "metadata")["network_data_format"]
    image, pred = form["inputs"]["image"], form["outputs"]["pred"]
    for tensor, names in ((image, content["channel_names"]), (pred, content["label_names"])):
        known = names.values() if isinstance(names, dict) else names
        assert list(tensor["channel_def"].values()) == list(known)
        assert tensor["num_channels"] == len(known)
        assert len(tensor["spatial_shape"]) == content["spatial_dims"]
    assert image["num_channels"] == content["in_channels"]


# Three dimensions and one channel are the bundle's own, which the tests above verify.
@pytest.mark.parametrize(("dims", "count"), [(2, 1), (3, 3)])
def test_verify_other_dimensions_and_channels(
    bundle: Path, dims: int, count: int, tmp_path: Path, raw: Raw
) -> None:
    """Verify metadata and network as MONAI does, and that both would find a wrong one."""
    meta = described(raw(bundle, "metadata"), dims, COLOURS[count])
    file, schema = tmp_path / "metadata.json", shutil.copy(SCHEMA, tmp_path / "schema.json")
    file.write_text(json.dumps(meta))
    monai.bundle.verify_metadata(meta_file=str(file), filepath=str(schema))
    for config in ("train", "inference", "evaluate"):
        asked: dict[str, Any] = {
            "meta_file": str(file),
            "config_file": str(bundle / "configs" / f"{config}.json"),
            "device": "cpu",
            "spatial_dims": dims,
            "in_channels": count,
            "network_def#features": [4] * 6,
        }
        monai.bundle.verify_net_in_out("network_def", **asked)
    with pytest.raises(RuntimeError, match="expected input"):
        monai.bundle.verify_net_in_out("network_def", **{**asked, "in_channels": count + 1})
    with pytest.raises(ValueError, match="output channel number"):
        monai.bundle.verify_net_in_out("network_def", **asked, out_channels=7)


@pytest.mark.parametrize(("dims", "count"), [(2, 3), (3, 4)])
def test_export_of_other_dimensions_and_channels(
    bundle: Path, dims: int, count: int, tmp_path: Path, raw: Raw
) -> None:
    asked = {"spatial_dims": dims, "in_channels": count, "network_def#features": [4] * 6}
    parser = ConfigParser(raw(bundle, "inference"))
    parser.update(asked)
    network = parser.get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    names = [str(number) for number in range(count)]
    meta = described(raw(bundle, "metadata"), dims, names)
    (tmp_path / "metadata.json").write_text(json.dumps(meta))
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(tmp_path / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        input_shape=[1, count, *[32] * dims],
        **asked,
    )
    image = torch.randn(1, count, *[32] * dims)
    with torch.no_grad():
        exported = torch.jit.load(tmp_path / "model.ts")
        torch.testing.assert_close(exported(image), network(image))


def test_export_to_torchscript(bundle: Path, tmp_path: Path, raw: Raw) -> None:
    """Export the shipped weights with the arguments of the Model Zoo's CI."""
    network = ConfigParser(raw(bundle, "inference")).get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
    )
    exported = torch.jit.load(tmp_path / "model.ts")
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(exported(image), network(image))


def test_shipped_weights_have_the_published_hash(bundle: Path, raw: Raw) -> None:
    published = raw(bundle, "metadata").get("weights_sha256", {})
    shipped = {
        str(file.relative_to(bundle)): sha256_of(file) for file in bundle.glob("models/**/*.pt")
    }
    assert published == shipped


def test_other_weights_under_a_published_name_are_refused(
    bundle: Path, tmp_path: Path, raw: Raw
) -> None:
    network = ConfigParser(raw(bundle, "inference")).get_parsed_content("network_def")
    for folder in ("configs", "models"):
        (tmp_path / folder).mkdir()
    meta = {"weights_sha256": {"models/model.pt": "0" * 64}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(meta))
    file = tmp_path / "models" / "model.pt"
    torch.save(network.state_dict(), file)
    with pytest.raises(CheckpointError, match="not the published 000000000000"):
        load_weights(network, file, strict=True)
    load_weights(network, file)  # as a start for training, any weights will do
    (tmp_path / "models" / "checkpoint.pt").write_bytes(b"a training of one's own")
    load_weights(network, file, strict=True)


@pytest.mark.slow
def test_export_to_onnx(tmp_path: Path, raw: Raw) -> None:
    """Export the network, which all bundles have, to ONNX; needs the extra ``export``."""
    bundle, *others = BUNDLES
    for other in others:
        assert raw(other, "inference")["network_def"] == raw(bundle, "inference")["network_def"]
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = ConfigParser(raw(bundle, "inference")).get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    monai.bundle.onnx_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.onnx"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
    )
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    (given,) = session.get_inputs()
    image = torch.randn([n if isinstance(n, int) else 1 for n in given.shape])
    with torch.no_grad():
        expected = network(image).numpy()
    np.testing.assert_allclose(
        session.run(None, {given.name: image.numpy()})[0], expected, atol=1e-3
    )
