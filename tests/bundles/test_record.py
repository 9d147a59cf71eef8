"""Record of a training beside its weights, and refusal of other settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_semiseg.bundles.record import read_record, settings_of, write_record
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.fingerprint import extract_fingerprint
from monai_semiseg.datasets.plan import plan
from monai_semiseg.errors import ConfigError, root_cause

from .conftest import PATCH

Settings = Callable[..., dict[str, Any]]
Trained = Callable[[Path], Path]
NAMES = {"0": "background", "1": "liver", "2": "spleen", "3": "kidney"}
OTHER: list[dict[str, Any]] = [
    {"spacing": [1.0, 1.0, 2.0]},
    {"in_channels": 2},
    {"out_channels": 4, "label_names": NAMES},
    {"label_names": {**NAMES, "3": "pancreas"}, "out_channels": 4},
    {"patch_size": [64, 64, 64]},
    {"intensity": {"_target_": "NormalizeIntensityd", "keys": "image"}},
    {"network_def#features": [8] * 6},
    {"preprocessing#transforms#{}#axcodes": "LPS"},
]


def place(config: Path, key: str) -> str:
    """Return a key with the index of its transform."""
    steps = json.loads(config.read_text())["preprocessing"]["transforms"]
    names = [step["_target_"] if isinstance(step, dict) else step for step in steps]
    return key.format(names.index("Orientationd"))


def test_what_a_training_leaves(bundle: Path, data: Path, trained: Trained) -> None:
    """Check that the record has the plan's resolved settings and the network."""
    record = read_record(trained(bundle) / "model.pt")
    assert record is not None and record["bundle"] == bundle.name
    settings = record["settings"]
    planned = plan(extract_fingerprint(open_dataset(data), None, progress=False), memory=2**32)
    assert planned.keys() <= settings.keys()
    assert settings["patch_size"] == settings["padded_size"] == PATCH
    assert settings["orientation"] == ["RAS"]
    network = ConfigParser({"net": settings["network_def"]}).get_parsed_content("net")
    state = torch.load(trained(bundle) / "model.pt", weights_only=True)
    network.load_state_dict(state, strict=True)
    for file in trained(bundle).glob("*.pt"):
        if file.stem not in ("model", "checkpoint"):
            companion = read_record(file)
            assert companion is not None and "network_def" not in companion["settings"]


@pytest.mark.parametrize("config", ["inference", "evaluate"])
@pytest.mark.parametrize("build", ["ours", "MONAI's"])
def test_another_preprocessing_is_refused(
    bundle: Path, data: Path, trained: Trained, settings: Settings, config: str, build: str
) -> None:
    """Check that any other setting is refused, and equal ones are accepted."""
    file = bundle / "configs" / f"{config}.json"
    weights = str(trained(bundle) / "model.pt")

    def begin(**more: Any) -> None:
        asked = settings(bundle, config, data, ckpt_path=weights, **more)
        if build == "ours":
            open_workflow(bundle, config, asked).initialize()
        else:
            root = str(bundle)
            ConfigWorkflow(str(file), logging_file=False, bundle_root=root, **asked).initialize()

    begin()
    for other in OTHER:
        with pytest.raises(RuntimeError) as caught:
            begin(**{place(file, key): value for key, value in other.items()})
        cause = root_cause(caught.value)
        assert isinstance(cause, ConfigError) and cause.exit_code == 2, other
        key = next(iter(other))
        name = "orientation" if "{}" in key else key.split("#")[0]
        assert re.search(rf"other settings: .*\b{name}\S* was .*, now", cause.found), cause
        assert ("; " in cause.found) == (name in ("label_names", "out_channels", "intensity"))
        assert "--plan" in cause.remedy
        assert len(str(cause).splitlines()) <= 4


def test_the_verbs(
    data: Path, trained: Trained, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that a verb with another plan stops before any work and names the difference."""
    out = tmp_path / "out"
    other = tmp_path / "other.yaml"
    other.write_text("patch_size: [40, 56, 40]\n")
    for verb in (
        ["predict", str(data / "images")],
        ["evaluate", str(data), "--datalist", str(data / "datalist.json")],
    ):
        command = [*verb, "--bundle", str(bundle), "--output", str(out), "--device", "cpu"]
        command += ["--plan", str(other)]
        assert main([*command, "--weights", str(trained(bundle) / "model.pt")]) == 2
        said = capsys.readouterr().err
        assert f"patch_size was {PATCH}, now [40, 56, 40]" in said
    assert not out.exists()


def test_a_file_of_somebody_elses_is_not_ours(tmp_path: Path) -> None:
    assert read_record(tmp_path / "model.pt") is None
    for text in ('{"layers": 3}', "[1]"):
        (tmp_path / "model.json").write_text(text)
        assert read_record(tmp_path / "model.pt") is None
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        read_record(tmp_path / "model.pt")


def test_settings_as_plain_values(tmp_path: Path) -> None:
    """Check that references and numbers are resolved, and nothing is built."""
    parser = ConfigParser(
        {
            "size": 4,
            "patch_size": "$[@size] * 3",
            "padded": "@patch_size",
            "ckpt_dir": "somewhere",
            "net_def": {"_target_": "nowhere.Net", "size": "@size", "twice": "$@size * 2"},
            "net": "$@net_def.cuda()",
            "train": {"a": "$1 / 0"},
        }
    )
    expected = {
        "size": 4,
        "patch_size": [4, 4, 4],
        "padded": [4, 4, 4],
        "net_def": {"_target_": "nowhere.Net", "size": 4, "twice": "$@size * 2"},
        "orientation": [],
    }
    assert settings_of(parser) == expected
    write_record(tmp_path / "w.pt", expected, "toy")
    record = read_record(tmp_path / "w.pt")
    assert record is not None and (record["settings"], record["bundle"]) == (expected, "toy")
