"""Bundles by name: in a clone, in an install, in the working folder; and where their runs write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_semiseg.bundles import locate
from monai_semiseg.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2] / "bundles"
OURS = [
    "contrastive_pretrainer",
    "diffusion_cotrainer",
    "hebbian_initializer",
    "semisupervised_baselines",
]


def make_bundle(folder: Path) -> Path:
    """Make what is recognised as a bundle."""
    (folder / "configs").mkdir(parents=True)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move the package to a folder as a wheel fills it, with one bundle; return its bundles."""
    package = tmp_path / "site" / "monai_semiseg"
    monkeypatch.setattr(locate, "__file__", str(package / "bundles" / "locate.py"))
    make_bundle(package / "shipped_bundles" / "ours")
    make_bundle(tmp_path / "site" / "bundles" / "another_packages")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return package / "shipped_bundles"


def test_bundles_of_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(locate.known_bundles()) == OURS
    assert locate.bundle_folder(OURS[0]) == ROOT / OURS[0]
    assert locate.bundle_folder(ROOT / OURS[1]) == ROOT / OURS[1]


def test_bundles_of_an_install(installed: Path) -> None:
    assert locate.shipped_bundles() == installed
    assert locate.known_bundles() == {"ours": installed / "ours"}
    assert locate.bundle_folder("ours") == installed / "ours"


def test_the_working_folder_comes_first(installed: Path) -> None:
    mine = make_bundle(Path("bundles/ours"))
    assert locate.bundle_folder("ours") == mine
    assert locate.known_bundles() == {"ours": mine}


def test_a_name_that_is_nearly_right(installed: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ours'"):
        locate.bundle_folder("our")


def test_runs_write_into_a_bundle_of_the_users(tmp_path: Path, installed: Path) -> None:
    mine = make_bundle(tmp_path / "mine")
    assert locate.output_root(mine) == mine
    assert locate.output_root(".") == Path()


def test_runs_write_nothing_into_an_installed_bundle(installed: Path) -> None:
    assert locate.output_root(str(installed / "ours")) == Path("runs/ours")


def test_runs_write_nothing_into_a_folder_that_must_not_be_written(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_bundle(tmp_path / "mine")
    monkeypatch.setattr(locate.os, "access", lambda *_: False)  # root may write everywhere
    assert locate.output_root(mine) == Path("runs/mine")


@pytest.mark.parametrize("name", OURS)
def test_no_config_writes_below_an_installed_bundle(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluate every folder that a config writes to, as if the bundle had come with a wheel."""
    monkeypatch.setattr(locate, "_installed_bundles", lambda: ROOT)
    found = 0
    for file in sorted((ROOT / name / "configs").glob("*.json")):
        content = json.loads(file.read_text())
        parser = ConfigParser({**content, "bundle_root": str(ROOT / name)})
        for key in ("ckpt_dir", "output_dir"):
            if key in content:
                found += 1
                assert parser.get_parsed_content(key).startswith(f"runs/{name}/"), (file, key)
    assert found >= 4
