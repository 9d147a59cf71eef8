"""A run that was killed goes on; two runs in one folder leave what one would."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.inferers import SimpleInferer

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import CaseResult
from monai_semiseg.inference.run_manifest import RunManifest, stamp
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.storage.files import sha256_of

Make = Callable[..., BatchRunner]


class Counting(SimpleInferer):
    """Counts the scans that it sees, and may do something at one of them."""

    __name__ = "SimpleInferer"  # its masks are those of this one
    identity = ""

    def __init__(self, at: int = 0, action: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.seen = 0
        self.at = at
        self.action = action

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        self.seen += 1
        if self.seen == self.at:
            self.action()
        return super().__call__(inputs, network, *args, **kwargs)


@pytest.fixture
def scans(tmp_path: Path, kit: SimpleNamespace) -> Path:
    for n in range(6):
        kit.write_nifti(tmp_path / "in" / f"s{n}.nii.gz", kit.values((6 + n, 5, 4), n))
    return tmp_path / "in"


def tree(out: Path) -> dict[str, Any]:
    """Return content of the whole output, but for how long things took."""
    found: dict[str, Any] = {}
    for path in sorted(
        path for path in out.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".csv")
    ):
        found[str(path.relative_to(out))] = sha256_of(path)
    report = json.loads((out / "report.json").read_text())
    for case in report["cases"]:
        case.pop("seconds"), case.pop("memory_mb")
    return {**found, "report.json": report}


def test_an_interrupted_run_goes_on(tmp_path: Path, scans: Path, make_runner: Make) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    make_runner(output_dir=str(tmp_path / "whole"), preview=True).run()
    with pytest.raises(
        KeyboardInterrupt, match="3 of 6 scans are left; run the same command again"
    ):
        make_runner(
            preview=True, inferer=Counting(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        ).run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*_seg.nii.gz")}
    assert len(before) == 3  # the case that was under way is whole
    again = Counting()
    assert [r.status for r in make_runner(preview=True, inferer=again).run()] == ["done"] * 6
    assert again.seen == 3 and all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_finished_run_has_nothing_left_to_do(
    tmp_path: Path, scans: Path, make_runner: Make
) -> None:
    make_runner().run()
    before = tree(tmp_path / "out")
    again = Counting()
    assert len(make_runner(inferer=again).run()) == 6 and again.seen == 0
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["scan", "mask", "gone", "failed"])
def test_what_is_not_as_it_was_left_is_done_again(
    change: str, tmp_path: Path, scans: Path, make_runner: Make, kit: SimpleNamespace
) -> None:
    if change == "failed":
        good = (scans / "s2.nii.gz").read_bytes()
        (scans / "s2.nii.gz").write_bytes(good[:60])
    make_runner().run()
    mask = tmp_path / "out" / "s2_seg.nii.gz"
    if change == "scan":
        kit.write_nifti(scans / "s2.nii.gz", kit.values((9, 5, 4), 77))
    elif change == "mask":
        mask.write_bytes(b"damaged")
    elif change == "gone":
        mask.unlink()
    else:
        (scans / "s2.nii.gz").write_bytes(good)
    again = Counting()
    assert [r.status for r in make_runner(inferer=again).run()] == ["done"] * 6
    assert again.seen == 1 and mask.stat().st_size > 50


@pytest.mark.parametrize("kind", ["channels", "series"])
def test_a_scan_whose_files_keep_their_size_is_done_again(
    kind: str, tmp_path: Path, kit: SimpleNamespace
) -> None:
    """Check that any file of a scan counts: uncompressed ones have the same size for ever."""
    names: tuple[str, ...] = ()
    if kind == "channels":
        names = ("T1", "FLAIR")
        for name in names:
            kit.write_nifti(tmp_path / f"p_{name}.nii", kit.values((5, 6, 4), 1))
    else:
        kit.write_dicom(tmp_path / "series", kit.values((5, 6, 4), 1), (1, 1, 1))
    with find_cases(tmp_path, names, progress=False) as found:
        (case,) = found.cases
    before = stamp(case)
    assert stamp(case) == before and len(case.files) > 1
    last = case.files[-1]
    when = last.stat().st_mtime_ns + 10**9
    os.utime(last, ns=(when, when))
    assert stamp(case) != before


def test_the_network_waits_for_no_disk(
    tmp_path: Path, scans: Path, make_runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that the thread that writes syncs masks and lines; a line's mask is there before it."""
    writers: set[str] = set()
    masks: list[bool] = []
    sync = os.fsync
    add = RunManifest.add

    def synced(handle: int) -> None:
        writers.add(threading.current_thread().name)
        sync(handle)

    def noted(self: RunManifest, case: Any, result: Any) -> None:
        masks.append((self.output / result.output).is_file())
        add(self, case, result)

    runner = make_runner()
    monkeypatch.setattr(RunManifest, "add", noted)
    monkeypatch.setattr(BatchRunner, "_report", lambda _: None)
    monkeypatch.setattr(os, "fsync", synced)
    begin = RunManifest.open
    monkeypatch.setattr(RunManifest, "open", lambda self: (begin(self), writers.clear()))
    results = runner.run()
    assert len(results) == len(masks) > 2 and all(masks)
    assert writers == {"write_0"}


@pytest.mark.parametrize(
    "settings", [{"about": {"overlap": 0.7}}, {"label_names": {"0": "b", "1": "l", "2": "other"}}]
)
def test_results_of_other_settings_are_not_mixed(
    settings: dict[str, Any], scans: Path, make_runner: Make, tmp_path: Path
) -> None:
    make_runner().run()
    with pytest.raises(ConfigError, match="another run"):
        make_runner(**settings).run()
    again = Counting()
    make_runner(**settings, overwrite=True, inferer=again).run()
    assert again.seen == 6
    make_runner(**settings).run()


def test_results_of_other_values_of_a_step_are_not_mixed(scans: Path, make_runner: Make) -> None:
    make_runner(spacing=[2.0, 2.0, 2.0]).run()
    with pytest.raises(ConfigError, match="another run"):
        make_runner(spacing=[2.0, 2.0, 3.0]).run()
    assert len(make_runner(spacing=[2.0, 2.0, 2.0]).run()) == 6


def test_overwrite_does_everything_again(scans: Path, make_runner: Make) -> None:
    make_runner().run()
    again = Counting()
    make_runner(overwrite=True, inferer=again).run()
    assert again.seen == 6


def test_a_torn_line_is_no_line(tmp_path: Path, scans: Path, make_runner: Make) -> None:
    make_runner().run()
    (lines,) = (tmp_path / "out" / "manifest").glob("*.jsonl")
    lines.write_bytes(lines.read_bytes()[:-40])
    again = Counting()
    assert len(make_runner(inferer=again).run()) == 6 and again.seen == 1
    last = Counting()
    make_runner(inferer=last).run()
    assert last.seen == 0


def test_two_runs_in_one_folder_leave_what_one_would(
    tmp_path: Path, scans: Path, make_runner: Make
) -> None:
    """Check that the second begins in the middle of the first, and ends before it.

    No case comes twice.
    """
    make_runner(output_dir=str(tmp_path / "whole"), preview=True).run()
    second: list[list[Any]] = []
    thread = threading.Thread(target=lambda: second.append(make_runner(preview=True).run()))

    def meet() -> None:
        thread.start()
        thread.join()

    first = make_runner(preview=True, inferer=Counting(2, meet)).run()
    assert [result.status for result in first] == ["done"] * 6
    assert [result.output for result in first] == [result.output for result in second[0]]
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_folder_of_an_earlier_version_goes_on(
    tmp_path: Path, scans: Path, make_runner: Make
) -> None:
    """Resume a folder whose lines have other names, and which may hold a lock."""
    make_runner().run()
    folder = tmp_path / "out" / "manifest"
    (lines,) = folder.glob("*.jsonl")
    half = lines.read_text().splitlines()[:4]
    (folder / "1-of-2.jsonl").write_text("\n".join(half))
    lines.unlink()
    (folder / "1-of-2.lock").write_text('{"host": "elsewhere", "pid": 1}')
    rest = Counting()
    assert len(make_runner(inferer=rest).run()) == 6 and rest.seen == 6 - 3


def test_the_last_run_counts_and_a_mask_more_than_a_failure(tmp_path: Path) -> None:
    case = Case("a", (), Path("a.nii"), "nifti")
    (tmp_path / "manifest").mkdir()
    (tmp_path / "m.nii").write_text("mask")

    def add(number: int, status: Any) -> None:
        output = "m.nii" if status == "done" else ""
        RunManifest(tmp_path, {}, number).add(case, CaseResult("a.nii", status, output))

    def known() -> str:
        return RunManifest(tmp_path, {}).finished()["a"].status

    add(1, "failed")
    add(2, "done")
    assert known() == "done"
    add(2, "failed")  # by a worker that was thought lost
    assert known() == "done"
    add(10, "failed")
    assert known() == "failed" and RunManifest(tmp_path, {}).number == 11
    (tmp_path / "manifest" / "1-of-1.jsonl").write_text(
        (tmp_path / "manifest").glob("run_0002*").__next__().read_text()
    )
    assert known() == "failed"


def test_killed_again_and_again(
    tmp_path: Path, scans: Path, make_runner: Make, count_kills: Callable[..., int]
) -> None:
    out = tmp_path / "out"
    make_runner(output_dir=str(tmp_path / "whole"), preview=True).run()
    assert count_kills(lambda: make_runner(preview=True).run(), out, step=4) >= 4
    assert tree(out) == tree(tmp_path / "whole")
    assert not list(out.rglob(".part*"))


def test_finished_cases_of_all_files(tmp_path: Path) -> None:
    manifest = RunManifest(tmp_path, {"a": 1})
    assert not manifest.started and manifest.open() == {}
    assert manifest.is_same_run and not RunManifest(tmp_path, {"a": 2}).is_same_run


def test_what_a_worker_has_returned_counts_before_its_file_is_seen(tmp_path: Path) -> None:
    """Show an earlier run's failure here, and no file of this one yet."""
    case = Case("a", (), tmp_path / "a.nii", "nifti")
    (tmp_path / "manifest").mkdir()
    RunManifest(tmp_path, {}).add(case, CaseResult("a", "failed", reason="cut"))
    coordinator = RunManifest(tmp_path, {})
    coordinator.keep(case, CaseResult("a", "done", "a_seg.nii"))
    assert coordinator.finished()["a"].output == "a_seg.nii"
    coordinator.add(case, CaseResult("a", "failed", reason="what the file of this run says"))
    assert coordinator.finished()["a"].status == "failed"
