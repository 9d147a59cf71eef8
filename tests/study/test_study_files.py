"""Study files of the bundles: each can be run as its first lines say."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semiseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    file for kind in ("study", "selections") for file in ROOT.glob(f"bundles/*/docs/{kind}*.yaml")
)
PHOTOGRAPHS = ("glas", "ham10000")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_cells_are_made_of_every_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """List the cells on sample data of the same kind, with fewer labels than the file asks for."""
    monkeypatch.chdir(ROOT)  # the files name bundles as the repository's root has them
    flat = any(name in file.stem for name in PHOTOGRAPHS)
    dataset = ROOT / "sample_data" / ("photographs/dataset" if flat else "dataset")
    few = ["--labelled", "2", "--splits", "0", "--test", "1"]
    words = ["study", str(dataset), "--config", str(file), "--output", str(tmp_path), *few]
    code = main([*words, "--dry_run"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "supervised__2_labelled" in said.out + said.err
