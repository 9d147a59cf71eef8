"""Equal trainings are run once: their weights are imported, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monai_semiseg.study.cell import CellSpec
from monai_semiseg.study.commands import cell_commands
from monai_semiseg.study.outcome import CellOutcome
from monai_semiseg.study.shared_training import import_weights, should_wait_for
from tests.study.cell_builders import BASELINES, SHORT, SLOW, make_spec, options

FUSION = BASELINES / "configs" / "label_fusion.yaml"


def write_results(spec: CellSpec, text: str) -> None:
    """Write the files of a training and its evaluation, but not that the cell is finished."""
    (spec.folder / "test").mkdir(parents=True)
    for name in ("model.pt", "test/metrics.csv", "learning_curve.csv"):
        (spec.folder / name).write_text(text)


def test_equal_pretraining_is_done_once(tmp_path: Path) -> None:
    """Share the first stage of two arms; not that of an unfinished cell or another seed."""
    source = make_spec(tmp_path, SHORT)
    taker = replace(make_spec(tmp_path, SHORT, SLOW), folder=tmp_path / "other")
    weights = source.stage_folder(1) / "model.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"learnt")
    write_results(source, "x")
    import_weights(taker, [source, taker])
    assert not (taker.folder / "stage_1").exists()
    assert len(cell_commands(taker)) == 4
    CellOutcome(source).finish()
    for stranger in (
        replace(taker, cell=replace(taker.cell, seed=3)),
        replace(make_spec(tmp_path, SLOW), folder=taker.folder),
    ):
        import_weights(stranger, [source])
        assert not taker.folder.exists()
    import_weights(taker, [source, taker])
    assert (taker.folder / "stage_1" / "model.pt").read_bytes() == b"learnt"
    assert (taker.folder / "stage_1" / "adopted.txt").read_text() == f"{source.name}\n"
    second, *rest = [options(command) for command in cell_commands(taker)]
    assert len(rest) == 2
    assert second["--init_weights"] == str(taker.folder / "stage_1" / "model.pt")
    assert second["--ckpt_dir"] == str(taker.folder / "stage_2")
    assert not (taker.folder / "stage_2").exists()


def test_arms_that_train_alike_share_one_training(tmp_path: Path) -> None:
    """Check that an arm that differs in prediction imports the weights.

    One of another training does not.
    """
    source = make_spec(tmp_path)
    arm = replace(source.cell.arm, name="fused", evaluate_overlays=(FUSION,))
    taker = replace(source, cell=replace(source.cell, arm=arm), folder=tmp_path / "fused")
    taker.folder.mkdir()
    write_results(source, "iteration\n30\n")
    assert should_wait_for(taker, source) and should_wait_for(source, taker)
    import_weights(taker, [source, taker])
    assert not list(taker.folder.iterdir())
    assert len(cell_commands(taker)) == 2
    CellOutcome(source).finish()
    for changed in (
        replace(taker.cell, seed=3),
        replace(taker.cell, arm=replace(arm, settings={})),
        replace(taker.cell, arm=replace(arm, overlays=(FUSION,))),
    ):
        stranger = replace(taker, cell=changed)
        assert not should_wait_for(stranger, source)
        import_weights(stranger, [source])
        assert not list(taker.folder.iterdir())
    import_weights(taker, [source, taker])
    assert (taker.folder / "adopted.txt").read_text() == f"{source.name}\n"
    assert CellOutcome(taker).progress() == 30
    (scores,) = (options(command) for command in cell_commands(taker))
    assert scores["--ckpt_path"] == str(taker.folder / "model.pt")
    assert str(FUSION) in scores["--config_file"]


def test_a_training_that_has_begun_is_its_own(tmp_path: Path) -> None:
    """Check that weights that a cell trained before it was killed are kept."""
    source = make_spec(tmp_path)
    cell = replace(source.cell, arm=replace(source.cell.arm, name="b"))
    taker = replace(source, cell=cell, folder=tmp_path / "b")
    write_results(source, "x")
    CellOutcome(source).finish()
    taker.folder.mkdir()
    (taker.folder / "learning_curve.csv").write_text("iteration\n10\n")
    import_weights(taker, [source, taker])
    assert len(cell_commands(taker)) == 2
    assert CellOutcome(taker).progress() == 10


def test_pretraining_in_common_waits(tmp_path: Path) -> None:
    first = make_spec(tmp_path, SHORT)
    assert should_wait_for(make_spec(tmp_path, SHORT, SLOW), first)
    assert not should_wait_for(make_spec(tmp_path, SLOW), first)
    assert not should_wait_for(make_spec(tmp_path), first)
    start = tmp_path / "w.pt"
    start.write_bytes(b"w")
    assert not should_wait_for(make_spec(tmp_path, SHORT, SLOW, initialisation=start), first)
