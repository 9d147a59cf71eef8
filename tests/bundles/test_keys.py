"""Unknown keys are refused however a config is merged, with the key that was meant."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow

from monai_semiseg.bundles.keys import load_config, merge_configs, refuse_unknown_keys
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.datasets.fingerprint import extract_fingerprint
from monai_semiseg.datasets.plan import plan
from monai_semiseg.errors import ConfigError, root_cause
from tests.processes import run_module

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BASELINES = BUNDLES / "semisupervised_baselines"
INFERENCE = BASELINES / "configs" / "inference.json"
TRAIN = BASELINES / "configs" / "train.json"

# Wrong overlays: the config that they are merged over, their text, words of the error.
WRONG: dict[str, tuple[str, str, str]] = {
    "a misspelt key": ("inference", "overlpa: 0.25", "'overlpa'[^$]*did you mean 'overlap'"),
    "of another workflow": ("train", "overlap: 0.25", "unknown setting 'overlap'"),
    "a parameter": (
        "inference",
        "inferer#inferer#overlapp: 0.25",
        "WindowInferer has no parameter[^$]*did you mean 'overlap'",
    ),
    "a parameter of a new component": (
        "inference",
        "inferer: {_target_: SliceInferer, spatial_dimm: 2, roi_size: [8, 8]}",
        "did you mean 'spatial_dim'",
    ),
    "a parameter that is handed on": (
        "train",
        "+train#trainer: {unlabeled_weight: 2}",
        "did you mean 'unlabelled_weight'",
    ),
    "a section's key": ("train", "train#sampller: 3", "did you mean 'sampler'"),
    "a section's key, merged": ("train", "+train#trainr: {a: 3}", "did you mean 'trainer'"),
    "a parent": ("inference", "inferrer#overlap: 0.5", "did you mean 'inferer'"),
    "a parent, further in": ("train", "train#trainr#amp: true", "did you mean 'trainer'"),
    "an item": ("train", "train#handlers#99#log_dir: x", "unknown setting"),
    "a parameter of a transform": (
        "inference",
        "preprocessing#transforms#4#pixdims: [1, 1, 1]",
        "Spacingd has no parameter[^$]*did you mean 'pixdim'",
    ),
    "text for a number": (
        "inference",
        "overlap: a lot",
        "'overlap' is the text 'a lot'[^$]*a number",
    ),
    "a number that YAML takes for text": ("train", "learning_rate: 1e-3", r"write[^$]*1\.0e-3"),
    "text for numbers": (
        "inference",
        "patch_size: big",
        "'patch_size' is the text[^$]*numbers in a",
    ),
    "text for a truth value": (
        "inference",
        "sides: 'false'",
        "'sides' is the text[^$]*True or False",
    ),
    "a nested mapping": ("inference", "inferer: {overlap: 0.3}", r"write 'inferer#KEY: value'"),
    "a nested section": ("train", "train: {sampler: 3}", r"'train' is replaced as a whole"),
    "nothing": ("inference", "# a comment", "is empty"),
    "a list": ("inference", "[1, 2]", "holds a list"),
    "no YAML": ("inference", "a: [1", "cannot be read"),
}
# At these MONAI stops by itself, while it merges and before anything of ours runs.
MERGING = {
    "a parent",
    "a parent, further in",
    "an item",
    "a nested section",
    "nothing",
    "a list",
    "no YAML",
}


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, str]:
    config, text, words = WRONG[request.param]
    (tmp_path / "mine.yaml").write_text(text)
    return config, tmp_path / "mine.yaml", words


def test_an_overlay(wrong: tuple[str, Path, str]) -> None:
    config, file, words = wrong
    with pytest.raises(ConfigError, match=words) as caught:
        open_workflow(BASELINES, config, overlays=[file])
    assert caught.value.path == file and caught.value.exit_code == 2


@pytest.mark.parametrize("build", [ConfigWorkflow, create_workflow])
@pytest.mark.parametrize("name", sorted(set(WRONG) - MERGING))
def test_a_workflow_that_monai_builds(build: Callable[..., Any], name: str, tmp_path: Path) -> None:
    """Check a workflow built by MONAI, with only the config's ``initialize`` of ours."""
    config, text, words = WRONG[name]
    (tmp_path / "mine.yaml").write_text(text)
    files = [str(BASELINES / "configs" / f"{config}.json"), str(tmp_path / "mine.yaml")]
    with pytest.raises(RuntimeError) as caught:
        build(config_file=files, logging_file=False, bundle_root=str(BASELINES)).initialize()
    cause = root_cause(caught.value)
    assert isinstance(cause, ConfigError)
    with pytest.raises(ConfigError, match=words):
        raise cause


def test_an_override_of_a_workflow_that_monai_builds() -> None:
    with pytest.raises(RuntimeError) as caught:
        ConfigWorkflow(str(INFERENCE), logging_file=False, overlpa=0.25).initialize()
    assert "did you mean 'overlap'" in str(root_cause(caught.value))


def test_words_for_false_are_not_obeyed_as_true() -> None:
    """Refuse ``--overwrite no`` of MONAI's command line: any text counts as true."""
    with pytest.raises(RuntimeError) as caught:
        ConfigWorkflow(str(INFERENCE), logging_file=False, overwrite="no").initialize()
    assert "'overwrite' is the text 'no'" in str(root_cause(caught.value))


def test_a_transform_may_hand_settings_on() -> None:
    """Give ``LoadImaged`` a key ``nonfinite``, which is its reader's."""
    reader = {"preprocessing#transforms#0#nonfinite": 0.0}
    config = merge_configs([INFERENCE], reader)
    assert config["preprocessing"]["transforms"][0]["nonfinite"] == 0.0


@pytest.mark.parametrize("form", ["plan", "config", "set", "nested set"])
def test_the_command_line(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("overlpa: 0.25")
    said = {
        "plan": ["--plan", str(tmp_path / "mine.yaml")],
        "config": ["--config", str(tmp_path / "mine.yaml")],
        "set": ["--set", "overlpa=0.25"],
        "nested set": ["--set", "inferer#inferer#overlpa=0.25"],
    }[form]
    scans = str(BUNDLES.parent / "sample_data" / "scans")
    out = tmp_path / "out"
    command = ["predict", scans, "--bundle", str(BASELINES), "--output", str(out), *said]
    assert main(command) == 2
    assert "did you mean 'overlap'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("said", [["--datset_dir", "x"], ["--config_file", "OVERLAY"]])
def test_bundle_run(said: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("overlpa: 0.25")
    files = [str(INFERENCE), *([str(tmp_path / "mine.yaml")] if "OVERLAY" in said else [])]
    command = ["monai.bundle", "run", "--config_file", str(files)]
    more = [] if "OVERLAY" in said else said
    command += ["--bundle_root", str(BASELINES), "--output_dir", str(tmp_path / "out"), *more]
    done = run_module(command, tmp_path, os.environ)
    assert done.returncode == 2
    assert "did you mean" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_file_at_fault_is_named_among_several(tmp_path: Path) -> None:
    """Check that the right file is named, and none if a setting is at fault."""
    (tmp_path / "right.yaml").write_text("inferer#inferer#overlap: 0.3")
    (tmp_path / "wrong.yaml").write_text("inferer#inferer#overlapp: 0.3")
    for names in (["right", "wrong", "right"], ["wrong", "right"]):
        with pytest.raises(ConfigError, match="overlapp") as caught:
            merge_configs([INFERENCE, *(tmp_path / f"{name}.yaml" for name in names)], {})
        assert caught.value.path == tmp_path / "wrong.yaml"
    with pytest.raises(ConfigError, match="overlapp") as caught:
        merge_configs([INFERENCE, tmp_path / "right.yaml"], {"inferer#inferer#overlapp": 1})
    assert caught.value.path is None


def test_keys_that_monai_adds_of_its_own() -> None:
    """Run as its federated client does, which names its runs whether they are tracked or not."""
    ConfigWorkflow(str(TRAIN), logging_file=False, run_name="one", seed=None).initialize()


RIGHT = [
    ("inference", "inferer#inferer#overlap: 0.25"),
    ("inference", "inferer#inferer#progress: true"),  # a parameter that the bundle does not give
    ("inference", "label_names: {'0': background, '1': liver, '2': spleen, '3': kidney}"),
    ("inference", "share: 0.3\noverlap: '@share'"),
    ("inference", "preprocessing#transforms#1#channel_dim: 0"),
    ("train", "train#extra: {a: 1}\nlearning_rate: '@train#extra#a'"),
    ("train", "copy: {_target_: BasicUNet}\nnetwork_def: '%copy'"),
    ("train", "+validate#key_metric: {other: {_target_: MeanDice}}"),
]


@pytest.mark.parametrize(("config", "text"), RIGHT)
def test_keys_that_have_a_place(config: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    open_workflow(BASELINES, config, overlays=[tmp_path / "mine.yaml"])


def overlays_of(bundle: Path, config: str) -> list[list[Path]]:
    """Return each bundle's overlays of a config, one at a time and for several processes."""
    configs = bundle / "configs"
    if config.startswith("pretrain"):
        local = "self_local.yaml" if config == "pretrain_local" else "none"
        names = ["slices_pretrain.yaml", "multi_gpu_pretrain.json", local]
    elif config == "train":
        names = ["slices.yaml", "multi_gpu_train.json", "cached.yaml", "methods/*.yaml"]
    else:
        names = ["slices_inference.yaml", "teacher.yaml", "label_fusion.yaml"]
    files = itertools.chain.from_iterable(sorted(configs.glob(name)) for name in names)
    return [[file] for file in files]


def test_everything_that_the_bundles_ship_passes_on_both_roads(bundle: Path) -> None:
    bases = [
        file for file in sorted((bundle / "configs").glob("*.json")) if file.stem != "metadata"
    ]
    bases = [file for file in bases if not file.stem.startswith("multi_gpu")]
    for base in bases:
        for overlays in [[], *overlays_of(bundle, base.stem)]:
            merged = merge_configs([base, *overlays], {})
            refuse_unknown_keys(merged, bases)
            assert set(load_config(base)["imports"]) <= set(merged["imports"]), overlays


def test_every_key_of_a_plan_is_one_of_every_workflow(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    """Check the keys of a plan, which is merged over the configs of all workflows."""
    settings = plan(extract_fingerprint(open_dataset(data), None, progress=False), memory=2**32)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(settings))
    for file in sorted((bundle / "configs").glob("*.json")):
        if file.stem != "metadata" and not file.stem.startswith("multi_gpu"):
            assert settings.keys() <= json.loads(file.read_text()).keys(), file
            merge_configs([file, tmp_path / "plan.yaml"], {})


def test_merged_as_monai_does(tmp_path: Path) -> None:
    method = BASELINES / "configs" / "methods" / "label_propagation.yaml"
    expected = ConfigParser.load_config_files([str(TRAIN), str(method)])
    assert merge_configs([TRAIN, method], {}) == expected
