"""The commands of a cell: every step starts from the weights of the one before."""

from __future__ import annotations

from ast import literal_eval
from dataclasses import replace
from pathlib import Path

from monai_semiseg.study.arms import Stage
from monai_semiseg.study.commands import cell_commands
from monai_semiseg.study.grid import Cell
from tests.study.cell_builders import (
    BASELINES,
    BUNDLES,
    HEBBIAN,
    SHORT,
    SLOW,
    make_spec,
    options,
)


def test_every_step_starts_from_the_one_before(tmp_path: Path) -> None:
    first, second, train, scores = map(options, cell_commands(make_spec(tmp_path, SHORT, SLOW)))
    assert "--init_weights" not in first and first["--iterations"] == "7" and first["--seed"] == "2"
    assert first["--ckpt_dir"] == str(tmp_path / "cell" / "stage_1") and first["--resume"] == "True"
    assert second["--init_weights"] == str(tmp_path / "cell" / "stage_1" / "model.pt")
    assert "--iterations" not in second and second["--rate"] == "0.5"
    assert train["--init_weights"] == str(tmp_path / "cell" / "stage_2" / "model.pt")
    assert train["--iterations"] == "30" and train["--learning_rate"] == "0.1"
    assert train["--ckpt_dir"] == str(tmp_path / "cell")
    assert scores["--ckpt_path"] == str(tmp_path / "cell" / "model.pt")
    assert {step["--datalist"] for step in (first, second, train, scores)} == {
        str(tmp_path / "datalist.json")
    }
    assert [step["--bundle_root"] for step in (first, train)] == [str(HEBBIAN), str(BASELINES)]


def test_the_first_stage_starts_from_the_given_weights(tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"w")
    spec = make_spec(tmp_path, Stage(HEBBIAN), initialisation=weights)
    stage, train, _ = map(options, cell_commands(spec))
    assert stage["--init_weights"] == str(weights)
    assert train["--init_weights"] == str(tmp_path / "cell" / "stage_1" / "model.pt")


def test_weights_reach_the_steps_that_take_them(tmp_path: Path) -> None:
    """Give the student one stage, the teacher another: each goes to the steps with its key."""
    diffusion = BUNDLES / "diffusion_cotrainer"
    spec = make_spec(tmp_path, Stage(HEBBIAN), Stage(diffusion, hands_to="teacher_weights"))
    arm = replace(spec.cell.arm, bundle=diffusion)
    _, second, train, _ = map(options, cell_commands(replace(spec, cell=Cell(arm, 4, 1, 2))))
    assert "--init_weights" not in second and "--teacher_weights" not in second
    assert train["--init_weights"] == str(tmp_path / "cell" / "stage_1" / "model.pt")
    assert train["--teacher_weights"] == str(tmp_path / "cell" / "stage_2" / "model.pt")


def test_overlays_come_after_the_plan(tmp_path: Path) -> None:
    """Set the patch of an arm in two dimensions after the plan's, in both steps."""
    spec = make_spec(tmp_path)
    slices, fusion = (BASELINES / "configs" / f"{name}.yaml" for name in ("slices", "label_fusion"))
    arm = replace(spec.cell.arm, overlays=(slices,), evaluate_overlays=(fusion,))
    flat = replace(spec, cell=Cell(arm, 4, 1, 2))
    given = [literal_eval(options(command)["--config_file"]) for command in cell_commands(flat)]
    plan = str(tmp_path / "plan.yaml")
    assert [names[1:] for names in given] == [[plan, str(slices)], [plan, str(fusion)]]
    plain = replace(flat, cell=Cell(replace(arm, evaluate_overlays=()), 4, 1, 2))
    assert len({flat.digest(), spec.digest(), plain.digest()}) == 3
    assert "label_fusion.yaml" in flat.identity()["configs"]
