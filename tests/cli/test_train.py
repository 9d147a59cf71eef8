"""The verbs that train: what they make, say and leave, and the command that does the same."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest
import torch
import yaml

from monai_semiseg.bundles.command import shell_text
from monai_semiseg.cli.main import main
from monai_semiseg.storage.files import sha256_of
from tests.processes import run_module

SMALL = ["--iterations", "2", "--device", "cpu", "--set", "num_workers=0"]


@pytest.fixture(scope="module")
def dataset(write_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six labelled scans of 34 x 30 x 36 voxels in a plain pair of folders."""
    return write_dataset(tmp_path_factory.mktemp("data"), scans=6)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training of two iterations, with nothing given but the dataset."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", str(dataset), "--output", str(folder), *SMALL]) == 0
    return folder


def test_words_of_a_command_survive_a_shell() -> None:
    words = ["python", "['a b.json','c']", "$torch.device('cpu')", 'say "it"', "plain", "it's"]
    text = shell_text(words)
    assert shlex.split(text) == words
    assert "\"['a b.json','c']\"" in text


@pytest.mark.slow
def test_the_printed_command_gives_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    """Run both in processes of their own, which have the same number of threads."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    method = ["--method", "cutmix_mean_teacher", "--labelled", "3", "--seed", "1"]
    command = ["monai_semiseg", "train", str(dataset), "--output", str(ours), *method, *SMALL]
    trained = run_module(command, Path.cwd(), os.environ)
    assert trained.returncode == 0, trained.stderr[-2000:]
    first, *rest = trained.stdout.splitlines()
    assert first.startswith("python -m monai.bundle run --config_file ")
    assert [line.split(":")[0] for line in rest if line.startswith("no --")] == [
        "no --datalist",
        "no --plan",
    ]
    theirs.mkdir()
    for name in ("datalist.json", "plan.yaml"):
        (theirs / name).write_bytes((ours / name).read_bytes())
    program, option, *words = shlex.split(first.replace(str(ours), str(theirs)))
    assert (program, option) == ("python", "-m")
    done = run_module(words, Path.cwd(), os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sha256_of(theirs / "model.pt") == sha256_of(ours / "model.pt")


def test_a_run_has_metadata_of_its_own_labels(trained: Path) -> None:
    """Compare metadata with that of MONAI's bundles, of the plan and not of the bundle."""
    plan = yaml.safe_load((trained / "plan.yaml").read_text())
    form = json.loads((trained / "metadata.json").read_text())["network_data_format"]
    classes = dict(enumerate(plan["label_names"].values()))
    assert form["outputs"]["pred"]["channel_def"] == {str(k): v for k, v in classes.items()}
    assert form["inputs"]["image"]["spatial_shape"] == plan["patch_size"]


def test_a_run_says_all_about_its_model(trained: Path, dataset: Path, tmp_path: Path) -> None:
    """Check that neither bundle nor plan nor names of labels are needed beside the folder."""
    scans = str(dataset / "images")
    asked = ["predict", scans, "--weights", str(trained), "--output", str(tmp_path / "masks")]
    assert main([*asked, "--device", "cpu", "--no_preview"]) in (0, 5)
    masks = sorted((tmp_path / "masks").rglob("*_seg.nii.gz"))
    assert len(masks) == 6 and nib.load(masks[0]).shape == (34, 30, 36)
    datalist = str(trained / "datalist.json")
    asked = ["evaluate", str(dataset), "--datalist", datalist, "--weights", str(trained)]
    assert main([*asked, "--output", str(tmp_path / "test"), "--device", "cpu"]) == 0
    about = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert set(about["classes"]) == {"label_1", "label_2"}


def test_a_training_in_slices_is_used_in_slices(dataset: Path, tmp_path: Path) -> None:
    slices = Path(__file__).parents[2] / "bundles/semisupervised_baselines/configs/slices.yaml"
    run = tmp_path / "run"
    asked = ["train", str(dataset), "--output", str(run), "--config", str(slices), *SMALL]
    assert main(asked) == 0
    assert torch.load(run / "model.pt", weights_only=True)["final_conv.weight"].ndim == 4
    scans = str(dataset / "images" / "0.nii.gz")
    asked = ["predict", scans, "--weights", str(run), "--output", str(tmp_path / "masks")]
    assert main([*asked, "--device", "cpu", "--no_preview"]) in (0, 5)


def test_it_goes_on_with_the_same_split_and_plan(trained: Path, dataset: Path) -> None:
    before = {name: sha256_of(trained / name) for name in ("datalist.json", "model.pt")}
    again = ["train", str(dataset), "--output", str(trained), "--resume", *SMALL]
    assert main(again) == 0
    assert {name: sha256_of(trained / name) for name in before} == before


def test_weights_are_not_written_over(
    trained: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file.name: sha256_of(file) for file in trained.iterdir() if file.is_file()}
    assert main(["train", str(dataset), "--output", str(trained), *SMALL]) == 2
    assert "add --resume" in capsys.readouterr().err
    after = {file.name: sha256_of(file) for file in trained.iterdir() if file.is_file()}
    assert after == before


def test_the_split_that_is_made_here_can_be_chosen(dataset: Path, tmp_path: Path) -> None:
    words = ["--labelled", "4", "--test", "1", "--validation", "0.5"]
    asked = ["train", str(dataset), "--output", str(tmp_path), *words, *SMALL]
    assert main(asked) == 0
    sections = json.loads((tmp_path / "datalist.json").read_text())
    counts = [len(sections[name]) for name in ("training", "validation", "unlabeled", "test")]
    assert counts == [2, 2, 1, 1]


def test_given_files_are_kept_beside_the_weights(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    given = ["--datalist", str(trained / "datalist.json"), "--plan", str(trained / "plan.yaml")]
    assert main(["train", str(dataset), "--output", str(tmp_path), *given, *SMALL]) == 0
    for name in ("datalist.json", "plan.yaml"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def test_a_training_is_replaced_on_request_with_its_files(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    """Replace the copy of the datalist as well, so that it is that of the new weights."""
    run, other = tmp_path / "run", tmp_path / "other.json"
    shutil.copytree(trained, run)
    assert main(["split", str(dataset), "--labelled", "3", "--output", str(other)]) == 0
    asked = ["train", str(dataset), "--datalist", str(other), "--output", str(run), "--overwrite"]
    assert main([*asked, *SMALL]) == 0
    assert (run / "datalist.json").read_bytes() == other.read_bytes()


def test_weights_without_a_bundle_are_refused(
    trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.pt"
    alone.write_bytes((trained / "model.pt").read_bytes())
    asked = ["predict", str(dataset), "--output", str(tmp_path / "out"), "--weights"]
    assert main([*asked, str(alone)]) == 2
    assert "no file beside the weights names a bundle" in capsys.readouterr().err
    assert main([*asked, str(tmp_path)]) == 2
    assert "no weights found" in capsys.readouterr().err
    assert main([*asked, str(trained / "checkpoint.pt")]) == 2
    assert f"--weights {trained} takes the model.pt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--method", "mean_techer"], "did you mean 'mean_teacher'"),
        (["--bundle", "hebian_initializer"], "did you mean 'hebbian_initializer'"),
        (["--plan", "gone.yaml"], "no such file"),
        (["--set", "learning_rat=1"], "learning_rate"),
        (["--datalist", "a.json", "--labelled", "4"], "--labelled beside --datalist"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    words: list[str], found: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(dataset), "--output", str(tmp_path / "run"), *words]) == 2
    assert found in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.pt").exists()


@pytest.mark.parametrize("bundle", ["hebbian_initializer", "contrastive_pretrainer"])
def test_pretraining_needs_no_label(
    bundle: str, write_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    free = write_dataset(tmp_path / "free", scans=3, labelled=False)
    run = tmp_path / "run"
    small = ["--bundle", bundle, "--set", "batch_size=2", *SMALL]
    assert main(["pretrain", str(free), "--output", str(run), *small]) == 0
    content = json.loads((run / "datalist.json").read_text())
    assert len(content["unlabeled"]) == 3 and not content["training"]
    assert (run / "model.pt").is_file()


def test_a_bundle_without_a_stage_has_none(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["pretrain", str(dataset), "--output", str(tmp_path / "run"), "--bundle"]
    assert main([*asked, "semisupervised_baselines"]) == 2
    assert "no pretraining stage" in capsys.readouterr().err
    assert main([*asked, "contrastive_pretrainer", "--stage", "lokal"]) == 2
    assert "one of global, local" in capsys.readouterr().err
