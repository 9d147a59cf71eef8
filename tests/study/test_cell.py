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


def test_files_of_one_name_are_all_part_of_the_identity(tmp_path: Path) -> None:
    """Check overlays of the training, of the evaluation, and of a stage."""
    files = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / "mine.yaml")
        files[-1].write_text(f"x: {number}")
    spec = make_spec(tmp_path, replace(SLOW, overlays=tuple(files)))
    arm = replace(spec.cell.arm, overlays=(files[0],), evaluate_overlays=(files[1],))
    specs = [spec, replace(spec, cell=replace(spec.cell, arm=replace(arm, stages=())))]
    before = [one.digest() for one in specs]
    files[0].write_text("x: 2")
    assert not {one.digest() for one in specs} & set(before)


def test_what_an_overlay_is_merged_over_and_when_is_part_of_the_identity(tmp_path: Path) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text("x: 1")
    b.write_text("x: 2")
    plain = make_spec(tmp_path)
    arms = [
        replace(plain.cell.arm, overlays=training, evaluate_overlays=evaluation)
        for training, evaluation in [
            ((a,), ()),
            ((), (a,)),
            ((a,), (a,)),
            ((a, b), ()),
            ((b, a), ()),
        ]
    ]
    stages = [replace(SLOW, overlays=files) for files in ((a, b), (b, a))]
    arms += [replace(plain.cell.arm, stages=(stage,)) for stage in stages]
    specs = [replace(plain, cell=replace(plain.cell, arm=arm)) for arm in arms]
    assert len({spec.digest() for spec in specs}) == 7
