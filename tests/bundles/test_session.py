"""Misspelt overrides of ``monai.bundle run`` stop before any work, with a suggestion."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from monai_semiseg.bundles.session import overrides_and_keys, refuse_unknown
from monai_semiseg.errors import ConfigError

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"


@pytest.mark.parametrize(
    "form", [["--config_file", "{}"], ["--config_file={}"], ["--config_file", "['{}']"]]
)
def test_overrides_and_keys_of_a_command_line(tmp_path: Path, form: list[str]) -> None:
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"dataset_dir": "x", "train": {"trainer": 1}}))
    argv = [
        "run",
        *(part.format(config) for part in form),
        "--dataset_dir",
        "y",
        "--train#trainer#max_epochs=3",
    ]
    assert overrides_and_keys(argv) == (
        ["dataset_dir", "train#trainer#max_epochs"],
        {"dataset_dir", "train"},
    )


def test_known_and_nested_keys_pass() -> None:
    refuse_unknown(
        ["dataset_dir", "train#trainer#max_epochs", "train::trainer"], {"dataset_dir", "train"}
    )


def test_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'dataset_dir'"):
        refuse_unknown(["datset_dir"], {"dataset_dir", "device"})


def test_bundle_run_with_a_misspelt_override(tmp_path: Path) -> None:
    config = BUNDLE / "configs" / "inference.json"
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        str(config),
        "--bundle_root",
        str(BUNDLE),
    ]
    command += ["--datset_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "did you mean 'dataset_dir'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_stays_with_the_process() -> None:
    """Otherwise a training step spends a sixth of its time on new pages."""
    code = (
        "import resource, numpy as np\n"
        "from monai_semiseg.bundles.session import prepare\n"
        "prepare()\n"
        "np.ones(1 << 23)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10): np.ones(1 << 23)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = int(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    )
    assert faults < 2000  # 64 MB ten times are 163,840 pages of 4 kB
