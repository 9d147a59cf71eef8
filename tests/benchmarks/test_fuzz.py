"""Damaged scans: typed errors or success, never a hang; and the fuzzer finds faults."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.benchmarks import fuzz


@pytest.mark.parametrize("first", [0, 100_000])
def test_damaged_scans_are_read_or_refused(first: int) -> None:
    found = fuzz.run(400, first, progress=False)
    bad = {
        key: seeds[:5] for key, seeds in found.items() if "UNTYPED" in key[1] or key[1] == "hang"
    }
    assert not bad
    assert {kind for kind, _ in found} == {"nifti", "dicom"} and len(found) > 10
    assert any(outcome == "read" for _, outcome in found)


def test_the_same_seed_gives_the_same_input() -> None:
    assert all(fuzz.mutated(seed) == fuzz.mutated(seed) for seed in range(40))
    assert len({tuple(fuzz.mutated(seed)[1].values()) for seed in range(40)}) == 40


def test_hangs_and_untyped_errors_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: Any) -> None:
        time.sleep(300)

    def odd(_: Any) -> None:
        raise ZeroDivisionError

    files = fuzz.dicom(fuzz.np.random.default_rng(0))
    assert fuzz.outcome(files, tmp_path, 300) == "read"
    monkeypatch.setattr(fuzz, "read_case", slow)
    assert fuzz.outcome(files, tmp_path, 0.2) == "hang"
    monkeypatch.setattr(fuzz, "read_case", odd)
    assert fuzz.outcome(files, tmp_path, 300) == "UNTYPED ZeroDivisionError"
