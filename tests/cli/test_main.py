"""The command line: start-up without heavy imports, exit codes, messages, and files written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.cli.main import VERBS, main

BUNDLE = str(Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines")
VERB_NAMES = [module.__name__.rsplit(".", 1)[-1] for module in VERBS]


def write_scan(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(
        nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine), path
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return ten labelled scans in a plain pair of folders."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for n in range(10):
        image = rng.normal(size=(20, 18, 12)).astype(np.float32)
        label = np.zeros(image.shape, dtype=np.uint8)
        label[5:12, 5:12, 3:8] = 1
        write_scan(root / "images" / f"case_{n:02}.nii.gz", image)
        write_scan(root / "labels" / f"case_{n:02}.nii.gz", label)
    return root


def test_help_of_every_verb_loads_neither_torch_nor_monai() -> None:
    code = (
        "import sys\nfrom monai_semiseg.cli.main import build_parser\n"
        "try:\n    build_parser().parse_args(sys.argv[1:])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'monai', 'matplotlib', 'scipy', 'itk'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    for verb in VERB_NAMES:
        done = subprocess.run(
            [sys.executable, "-c", code, verb, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert f"monai-semiseg {verb}" in done.stdout


def test_import_of_the_package_is_light() -> None:
    code = (
        "import sys, monai_semiseg; sys.exit(len({'torch', 'monai', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_verbs_are_the_promised_ones() -> None:
    assert set(VERB_NAMES) == {
        "demo",
        "check",
        "select",
        "split",
        "convert",
        "plan",
        "pretrain",
        "train",
        "predict",
        "propose",
        "review",
        "collect",
        "evaluate",
        "study",
        "bundle",
        "weights",
        "export",
        "doctor",
    }


def test_check_of_a_sound_dataset(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(dataset), "--output", str(tmp_path / "report.json")]) == 0
    assert "10 cases, 10 with a label" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "report.json").read_text())["cases"]) == 10


def test_check_names_the_bad_file_and_exits_with_2(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "images" / "case_03.nii.gz").write_bytes(b"no scan at all")
    assert main(["check", str(dataset)]) == 2
    out = capsys.readouterr().out
    assert "E_NOT_NIFTI" in out
    assert "case_03" in out


def test_split_and_plan_write_what_the_bundles_read(dataset: Path, tmp_path: Path) -> None:
    datalist = tmp_path / "datalist.json"
    plan = tmp_path / "plan.yaml"
    assert (
        main(["split", str(dataset), "--labelled", "4", "--test", "3", "--output", str(datalist)])
        == 0
    )
    content = json.loads(datalist.read_text())
    assert [len(content[key]) for key in ("training", "validation", "unlabeled", "test")] == [
        4,
        0,
        3,
        3,
    ]
    assert all(set(entry) == {"image"} for entry in content["unlabeled"])
    assert main(["plan", str(dataset), "--datalist", str(datalist), "--output", str(plan)]) == 0
    import yaml

    settings = yaml.safe_load(plan.read_text())
    assert settings["spacing"] == [1.0, 1.0, 2.0]
    assert settings["patch_size"] == [32, 24, 16]
    assert settings["out_channels"] == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["check", "nowhere"], "E_CONFIG nowhere"),
        (["split", "nowhere", "--labelled", "2"], "E_CONFIG nowhere"),
        (
            ["evaluate", "x", "--datalist", "y", "--output", "z", "--bundle", "nowhere"],
            "E_CONFIG nowhere",
        ),
        (["predict", "x", "--output", "z", "--bundle", "nowhere"], "E_CONFIG nowhere"),
        (
            ["predict", "x", "--output", "z", "--bundle", BUNDLE, "--device", "cuda:77"],
            "--device cuda:77",
        ),
        (
            ["predict", "x", "--output", "z", "--bundle", BUNDLE, "--plan", "nowhere.yaml"],
            "nowhere.yaml",
        ),
    ],
)
def test_a_bad_request_exits_with_2_in_a_few_lines(
    argv: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    message = capsys.readouterr().err.strip()
    assert words in message
    assert len(message.splitlines()) <= 4
    assert not list(tmp_path.iterdir())


def test_too_many_labels_asked_for(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "datalist.json"
    assert main(["split", str(dataset), "--labelled", "50", "--output", str(output)]) == 2
    assert "50 of 8" in capsys.readouterr().err
    assert not output.exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from monai_semiseg.errors import ConfigError

    with pytest.raises(ConfigError):
        main(["check", str(tmp_path / "nowhere"), "--debug"])


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_gone_is_no_error(buffered: bool) -> None:
    """Check that ``monai-semiseg check DATASET | head -1`` shows no traceback."""
    code = (
        "import sys\nfrom monai_semiseg.cli import check, main, terminal\n"
        "def report(args):\n    for n in range(9): terminal.say(f'case {n}')\n    return 0\n"
        "check.run = report\nsys.exit(main.main(['check', '.']))"
    )
    command = [sys.executable, *([] if buffered else ["-u"]), "-c", code]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.stderr == "" and done.returncode == 141


def test_a_worker_whose_pipe_broke_is_one() -> None:
    code = (
        "import sys\nfrom monai_semiseg.cli import check, main\n"
        "def fail(args): raise BrokenPipeError('a worker')\n"
        "check.run = fail\nsys.exit(main.main(['check', '.']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "BrokenPipeError: a worker" in done.stderr


def test_names_that_are_no_text_are_printed(dataset: Path) -> None:
    """Check that the terminal gets a stand-in, because in UTF-8 Python refuses to print them."""
    odd = os.fsdecode(b"caf\xe9.nii")
    (dataset / "images" / odd).write_text("no scan")
    command = [sys.executable, "-m", "monai_semiseg", "check", str(dataset)]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 2 and b"caf\\xe9.nii: no NIfTI header" in done.stdout, done.stderr


def test_the_folder_of_a_bundle_stands_alone_on_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Print it alone, so that a shell can put it behind ``--bundle_root``."""
    assert main(["bundle", "semisupervised_baselines"]) == 0
    assert capsys.readouterr().out == f"{BUNDLE}\n"
    assert main(["bundle"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["semisupervised_baselines", BUNDLE]
    assert main(["bundle", "semisupervised_baseline"]) == 2
    assert "did you mean 'semisupervised_baselines'?" in capsys.readouterr().err


def test_doctor_looks_bundles_over_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(Path(BUNDLE).rglob("*"))
    assert main(["doctor", "semisupervised_baselines"]) == 0
    assert capsys.readouterr().out.endswith("bundles: all right\n")
    assert main(["doctor", "nobodys_bundle"]) == 2
    assert "nobodys_bundle train: ConfigError: E_CONFIG" in capsys.readouterr().out
    assert sorted(Path(BUNDLE).rglob("*")) == before and not list(tmp_path.iterdir())
