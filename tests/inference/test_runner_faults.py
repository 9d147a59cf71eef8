"""Faults of a run: a bad scan fails alone, a bad request stops first, no patient is named."""

from __future__ import annotations

import errno
import gzip
import json
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.inferers import SimpleInferer

from monai_semiseg.errors import CheckpointError, ConfigError, OutputError
from monai_semiseg.inference import outputs as outputs_module
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.inference.segmenter import CaseSegmenter

Make = Callable[..., BatchRunner]


@pytest.fixture
def three(tmp_path: Path, kit: SimpleNamespace) -> Path:
    """Write scans a, b and c, which differ in size."""
    for number, name in enumerate("abc"):
        kit.write_nifti(tmp_path / "in" / f"{name}.nii", kit.values((5 + number, 5, 5), number))
    return tmp_path / "in"


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        Path(row["input"]).stem: row
        for row in json.loads((folder / "report.json").read_text())["cases"]
    }


class Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: torch.save({"other": torch.ones(1)}, file), "0 of 1 tensors"),
        (lambda file: torch.save({"level": torch.ones(2)}, file), "another shape: level"),
        (
            lambda file: torch.save({"level": torch.tensor([0.5]), "head": torch.ones(1)}, file),
            "not used: head",
        ),
        (lambda file: torch.save({"level": torch.tensor([float("nan")])}, file), "NaN"),
        (lambda file: file.write_bytes(file.read_bytes()[:500]), "damaged"),
        (lambda file: file.write_bytes(pickle.dumps(Payload(file.parent / "proof"))), "damaged"),
        (lambda file: file.unlink(), "no weights found"),
    ],
)
def test_unusable_weights_stop_before_any_work(
    tmp_path: Path,
    three: Path,
    make_runner: Make,
    weights: Path,
    spoil: Callable[[Path], Any],
    words: str,
) -> None:
    spoil(weights)
    with pytest.raises(CheckpointError, match=words):
        make_runner().run()
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("settings", "prepare", "words"),
    [
        ({"output_dir": "in/masks"}, None, "lies inside the input"),
        ({"output_dir": "in"}, None, "lies inside the input"),
        ({"output_dir": "in/../in/x"}, None, "lies inside the input"),
        (
            {"output_dir": "link/x"},
            lambda root: (root / "link").symlink_to(root / "in"),
            "lies inside the input",
        ),
        ({}, lambda root: (root / "out").write_text("a file"), "cannot be written"),
        (
            {"output_dir": "file/x/y"},
            lambda root: (root / "file").write_text("a file"),
            "cannot be written",
        ),
        ({}, lambda root: _write(root / "out" / "b_seg.nii.gz"), "b_seg.nii.gz: exists"),
        ({}, lambda root: _write(root / "out" / "report.json"), "another run"),
        ({"inputs": "nowhere"}, None, "nowhere: does not exist"),
        ({"inputs": "empty"}, lambda root: (root / "empty").mkdir(), "no scan found"),
        ({"inputs": "notes"}, lambda root: _write(root / "notes" / "notes.txt"), "no scan found"),
    ],
)
def test_a_bad_request_stops_before_any_work(
    tmp_path: Path,
    three: Path,
    make_runner: Make,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    prepare: Callable[[Path], Any] | None,
    words: str,
) -> None:
    if prepare is not None:
        prepare(tmp_path)
    monkeypatch.setattr(CaseSegmenter, "read", lambda *_: pytest.fail("work was started"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=words):
        make_runner(**{key: str(tmp_path / value) for key, value in settings.items()}).run()
    assert sorted(tmp_path.rglob("*")) == before


def _write(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("old")


def test_overwrite_replaces(tmp_path: Path, three: Path, make_runner: Make) -> None:
    _write(tmp_path / "out" / "b_seg.nii.gz")
    _write(tmp_path / "out" / "report.json")
    assert [result.status for result in make_runner(overwrite=True).run()] == ["done"] * 3
    assert nib.load(tmp_path / "out" / "b_seg.nii.gz").shape == (6, 5, 5)


class Failing(SimpleInferer):
    """Raises on the scan of six columns, the second of three."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        if inputs.shape[2] == 6:
            raise self.error
        return super().__call__(inputs, network, *args, **kwargs)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("sizes do not match\nat length"), "E_INTERNAL"),
        (ValueError("value"), "E_INTERNAL"),
        (KeyError("key"), "E_INTERNAL"),
        (IndexError(), "E_INTERNAL"),
        (TypeError("type"), "E_INTERNAL"),
        (AttributeError("attribute"), "E_INTERNAL"),
        (ZeroDivisionError("zero"), "E_INTERNAL"),
        (PermissionError(13, "Permission denied"), "E_INTERNAL"),
        (nib.spatialimages.HeaderDataError("header"), "E_INTERNAL"),
        (MemoryError(), "E_MEMORY"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "E_MEMORY",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), "E_MEMORY"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_whatever_one_scan_raises_fails_it_alone(
    tmp_path: Path, three: Path, make_runner: Make, error: BaseException, code: str
) -> None:
    runner = make_runner(inferer=Failing(error))
    runner.run()
    assert {name: row["status"] for name, row in rows(tmp_path / "out").items()} == {
        "a": "done",
        "b": "failed",
        "c": "done",
    }
    failed = rows(tmp_path / "out")["b"]
    assert failed["code"] == code
    assert failed["reason"].startswith("E_MEMORY" if code == "E_MEMORY" else type(error).__name__)
    assert "\n" not in failed["reason"]
    assert runner.exit_code() == 3
    assert not list((tmp_path / "out").glob("b*"))


def test_a_network_that_gives_nan_fails_the_case(
    tmp_path: Path, three: Path, make_runner: Make
) -> None:
    """Fail the case: argmax would make NaN an empty mask."""

    class Overflowing(SimpleInferer):
        def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
            output = super().__call__(inputs, network)
            if inputs.shape[2] == 6:
                output[0, 1, 0, 0, 0] = float("nan")
            return output

    make_runner(inferer=Overflowing()).run()
    assert rows(tmp_path / "out")["b"]["code"] == "E_NONFINITE"
    assert rows(tmp_path / "out")["c"]["status"] == "done"


def test_scans_with_nan_are_refused(
    tmp_path: Path, three: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    array = kit.values((6, 6, 6))
    array[2, 2, 2] = np.nan
    kit.write_nifti(tmp_path / "in" / "b.nii", array)
    make_runner().run()
    assert rows(tmp_path / "out")["b"]["code"] == "E_NONFINITE"


@pytest.mark.parametrize("ending", ["_seg.nii.gz", "_preview.png"])
def test_a_full_disk_ends_the_run_and_the_report_lists_what_was_done(
    tmp_path: Path, three: Path, make_runner: Make, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(f"b{ending}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        make_runner(preview=True).run()
    out = tmp_path / "out"
    assert {name: (row["status"], row["code"]) for name, row in rows(out).items()} == {
        "a": ("done", ""),
        "b": ("failed", "E_DISK"),
    }
    assert not [
        path.name
        for path in out.iterdir()
        if path.name.startswith((".", "c")) or path.name == f"b{ending}"
    ]
    assert nib.load(out / "a_seg.nii.gz").shape == (5, 5, 5)


def test_an_interrupt_leaves_the_report(tmp_path: Path, three: Path, make_runner: Make) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_runner(inferer=Failing(KeyboardInterrupt())).run()
    assert {name: row["status"] for name, row in rows(tmp_path / "out").items()} == {"a": "done"}
    there = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert there == ["a_seg.nii.gz", "manifest", "report.csv", "report.json"]


def test_a_preview_that_fails_is_a_remark(
    tmp_path: Path, three: Path, make_runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("no font")

    monkeypatch.setattr(outputs_module, "draw_previews", broken)
    assert [result.status for result in make_runner(preview=True).run()] == ["done"] * 3
    assert rows(tmp_path / "out")["a"]["reason"] == "no preview: ValueError: no font"
    assert (tmp_path / "out" / "a_seg.nii.gz").exists()


def spoil_series(folder: Path, fault: str) -> None:
    files = sorted(folder.glob("*.dcm"))
    if fault == "gap":
        files[2].unlink()
    elif fault == "cut pixels":
        files[2].write_bytes(files[2].read_bytes()[:-40])
    elif fault == "cut header":
        files[2].write_bytes(files[2].read_bytes()[:300])
    elif fault in ("odd codec", "wrong size", "no geometry"):
        for file in files:
            dataset = pydicom.dcmread(file)
            if fault == "odd codec":
                dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
                dataset.PixelData = pydicom.encaps.encapsulate([b"no such stream"])
            elif fault == "wrong size":
                dataset.Rows += 3
            else:
                del dataset.ImagePositionPatient
            dataset.save_as(file)


def test_no_patient_is_named_anywhere(
    tmp_path: Path,
    make_runner: Make,
    kit: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Find names, ids, dates and free text of the DICOM header in no file, log or message."""
    faults = ["good", "gap", "cut pixels", "cut header", "odd codec", "wrong size", "no geometry"]
    for fault in faults:
        kit.write_dicom(tmp_path / "in" / fault, kit.values((6, 6, 5)), PixelAspectRatio=[1, 1])
        spoil_series(tmp_path / "in" / fault, fault)
    with caplog.at_level(logging.DEBUG):
        results = make_runner(preview=True).run()
    assert {
        Path(result.input).name: result.status for result in results if result.status == "done"
    } == {"good": "done"}
    inputs = " ".join(result.input for result in results)
    assert [name for name in faults if name not in inputs] == []
    captured = capfd.readouterr()
    texts = [caplog.text.encode(), captured.out.encode(), captured.err.encode()]
    for path in sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        content = path.read_bytes()
        texts += [path.name.encode(), gzip.decompress(content) if path.suffix == ".gz" else content]
    assert len(texts) == 3 + 2 * 7
    for canary in (b"CANARY", b"19010203", b"19040506"):
        assert [text[:60] for text in texts if canary in text] == []
    assert any(b"CANARY" in path.read_bytes() for path in (tmp_path / "in" / "good").iterdir()), (
        "it was there to leak"
    )
