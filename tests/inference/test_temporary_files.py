"""Fault row 48: what an archive is unpacked to is private, and gone however the run ends."""

from __future__ import annotations

import signal
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from monai.inferers import SimpleInferer

from monai_semiseg.inference.runner import BatchRunner


class Ending(SimpleInferer):
    """Looks at the temporary folder, then ends the run in one of several ways."""

    def __init__(self, folder: Path, end: str) -> None:
        super().__init__()
        self.folder = folder
        self.end = end
        self.modes: set[int] = set()

    def __call__(self, inputs: Any, network: Any, *args: Any, **kwargs: Any) -> Any:
        self.modes |= {stat.S_IMODE(path.stat().st_mode) for path in self.folder.iterdir()}
        if self.end == "SIGTERM":
            signal.raise_signal(signal.SIGTERM)
        if self.end == "SIGTERM twice":
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        if self.end == "error":
            raise SystemError("what no case may catch")
        return super().__call__(inputs, network)


@pytest.mark.parametrize("end", ["success", "error", "SIGTERM", "SIGTERM twice"])
def test_row_48_temporary_files(
    tmp_path: Path,
    kit: SimpleNamespace,
    make_runner: Callable[..., BatchRunner],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    private = tmp_path / "tmp"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "scans.zip", "w") as archive:
        for name in "abcdef":
            archive.write(
                kit.write_nifti(tmp_path / f"{name}.nii", kit.values((5, 5, 5))),
                f"study/{name}.nii",
            )
    inferer = Ending(private, end)
    runner = make_runner(inferer=inferer)
    if end == "success":
        assert [result.status for result in runner.run()] == ["done"] * 6
    else:
        with pytest.raises((KeyboardInterrupt, SystemError)):
            runner.run()
        assert len(list((tmp_path / "out").rglob("*.json"))) >= 1
    assert inferer.modes == {0o700}
    assert list(private.iterdir()) == []
    assert not [path for path in (tmp_path / "out").rglob("*") if ".part" in path.name]
