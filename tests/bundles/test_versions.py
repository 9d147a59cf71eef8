"""Warnings and errors for releases other than the metadata's (fault row 46)."""

from __future__ import annotations

import importlib.metadata
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.bundles.versions import check_versions
from monai_semiseg.errors import ConfigError


def bundle(folder: Path, **meta: Any) -> Path:
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize(
    ("tested", "warned"),
    [
        ("2.4.6", False),
        ("2.4.0", False),
        ("2.3.9", False),
        ("2.5.0", True),
        ("3.0.0", True),
        ("1.26.4", True),
    ],
)
def test_row_46_versions_outside_the_metadata(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tested: str,
    warned: bool,
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.4.6+cpu")
    with caplog.at_level(logging.WARNING):
        check_versions(bundle(tmp_path, numpy_version=tested))
    assert ("W_VERSION numpy 2.4.6+cpu" in caplog.text) == warned
    assert (f"pip install 'numpy=={tested}'" in caplog.text) == warned


def test_absent_package_is_an_error_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'no-such-package==1\.2\.3'"):
        check_versions(bundle(tmp_path, required_packages_version={"no-such-package": "1.2.3"}))


def test_a_bundle_that_states_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_versions(tmp_path)
    check_versions(bundle(tmp_path, monai_version=None))
    assert not caplog.records
