"""The wheel in a folder without the checkout: bundles are found, run, and stay as they are."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from setuptools import find_packages

from monai_semiseg.storage.files import sha256_of

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = "monai_semiseg/shipped_bundles"
SCAN = ROOT / "sample_data" / "scans" / "plain.nii"


def test_every_package_is_installed() -> None:
    """List them: Setuptools cannot both find packages and take one from another place."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    assert listed == sorted(listed)
    found = find_packages(str(ROOT), include=["monai_semiseg*"])
    assert set(listed) - {SHIPPED.replace("/", ".")} == set(found)


@dataclass(frozen=True)
class Installed:
    """A wheel, where it is installed, and an empty folder to work in."""

    wheel: Path
    site: Path
    work: Path

    def run(self, *words: str) -> str:
        """Run an installed command or module in the empty folder; return what it prints."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.work,
            env={**kept, "PYTHONPATH": str(self.site)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def verb(self, *words: str) -> str:
        """Run the ``monai-semiseg`` command."""
        return self.run(str(self.site / "bin" / "monai-semiseg"), *words)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Build a source distribution, a wheel from it, and install that read-only."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    for name in ("monai_semiseg", "bundles"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True, capture_output=True)
    shutil.rmtree(source)
    (folder / "work").mkdir()
    shipped = [site / SHIPPED, *(site / SHIPPED).rglob("*")]
    for path in shipped:
        path.chmod(path.stat().st_mode & ~0o222)
    yield Installed(wheel, site, folder / "work")
    for path in shipped:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.slow
def test_what_the_wheel_holds(installed: Installed) -> None:
    assert installed.wheel.stat().st_size < 100e6, "the index's limit for one file"
    with zipfile.ZipFile(installed.wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"{SHIPPED}/")]
    assert not [name for name in names if "/_base/" in name or name.endswith(".csv")]
    for file in (ROOT / "monai_semiseg").rglob("*.*"):  # pages and scripts as well as modules
        if file.is_file() and "__pycache__" not in file.parts:
            assert (installed.site / file.relative_to(ROOT)).is_file(), file
    weights = set()
    for bundle in sorted((installed.site / SHIPPED).iterdir()):
        for config in (ROOT / "bundles" / bundle.name / "configs").rglob("*.*"):
            copy = bundle / config.relative_to(ROOT / "bundles" / bundle.name)
            assert copy.read_bytes() == config.read_bytes()
        metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
        for name, expected in metadata["weights_sha256"].items():
            weights.add(f"{SHIPPED}/{bundle.name}/{name}")
            assert sha256_of(bundle / name) == expected
    assert {name for name in names if "/models/" in name} == weights


@pytest.mark.slow
def test_both_roads_segment_without_the_checkout(installed: Installed) -> None:
    """Check that the verb and ``monai.bundle run`` make equal masks.

    Nothing is written beside the bundle.
    """
    before = sorted((p, p.stat().st_mtime_ns) for p in (installed.site / SHIPPED).rglob("*"))
    name = "hebbian_initializer"
    bundle = Path(installed.verb("bundle", name))
    assert bundle == (installed.site / SHIPPED / name).resolve()
    scan = shutil.copy(SCAN, installed.work)
    asked = ("--bundle", name, "--device", "cpu", "--no_preview")
    said = installed.verb("predict", Path(scan).name, "--output", "masks", *asked)
    assert said.startswith("1 done, 0 failed")
    config = str(bundle / "configs" / "inference.json")
    where = ("--config_file", config, "--bundle_root", str(bundle))
    settings = ("--dataset_dir", Path(scan).name, "--device", "cpu", "--preview", "False")
    installed.run("-m", "monai.bundle", "run", *where, *settings)
    masks = sorted(path.relative_to(installed.work) for path in installed.work.rglob("*.nii.gz"))
    roads = {path.parts[0]: nib.load(installed.work / path) for path in masks}
    assert sorted(roads) == ["masks", "runs"], masks
    values = [np.asarray(road.dataobj) for road in roads.values()]
    assert values[0].shape == nib.load(SCAN).shape and set(np.unique(values[0])) == {0, 1, 2}
    np.testing.assert_array_equal(*values)
    assert (installed.work / "runs" / name / "predictions" / "report.csv").is_file()
    assert before == sorted(
        (p, p.stat().st_mtime_ns) for p in (installed.site / SHIPPED).rglob("*")
    )
