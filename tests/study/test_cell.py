"""The identity of a cell: all that its result depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.study.cell_builders import SLOW, make_spec


def test_pretraining_is_part_of_the_identity(tmp_path: Path) -> None:
    plain = make_spec(tmp_path)
    digests = {
        plain.digest(),
        make_spec(tmp_path, SLOW).digest(),
        make_spec(tmp_path, SLOW, SLOW).digest(),
        make_spec(tmp_path, replace(SLOW, settings={"rate": 0.4})).digest(),
    }
    assert len(digests) == 4
    # Cells of studies from before there were stages stay valid.
    assert "stages" not in plain.identity()
