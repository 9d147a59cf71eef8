"""What a cell runs, and what makes it this cell."""

from __future__ import annotations

from ast import literal_eval
from dataclasses import replace
from pathlib import Path

from monai_semiseg.study.cell import Job
from monai_semiseg.study.grid import Arm, Cell, Stage

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BASELINES, HEBBIAN = BUNDLES / "semisupervised_baselines", BUNDLES / "hebbian_initializer"


def job(folder: Path, *stages: Stage, initialisation: Path | None = None) -> Job:
    for name in ("datalist.json", "plan.yaml"):
        (folder / name).write_text("{}")
    arm = Arm("a", BASELINES, (), {"learning_rate": 0.1}, initialisation, stages)
    return Job(
        Cell(arm, 4, 2),
        folder / "cell",
        folder / "datalist.json",
        folder / "plan.yaml",
        30,
        folder,
        "cpu",
    )


def options(command: list[str]) -> dict[str, str]:
    """Option -> value of a bundle run."""
    assert command[1:4] == ["-m", "monai.bundle", "run"]
    return dict(zip(command[4::2], command[5::2], strict=True))


def test_every_step_starts_from_the_one_before(tmp_path: Path) -> None:
    one, two = Stage(HEBBIAN, settings={"iterations": 7}), Stage(HEBBIAN, settings={"rate": 0.5})
    first, second, train, scores = map(options, job(tmp_path, one, two).commands())
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
    stage, train, _ = map(options, job(tmp_path, Stage(HEBBIAN), initialisation=weights).commands())
    assert stage["--init_weights"] == str(weights)
    assert train["--init_weights"] == str(tmp_path / "cell" / "stage_1" / "model.pt")


def test_weights_reach_the_steps_that_take_them(tmp_path: Path) -> None:
    """A student from one stage, a teacher from another: each is handed to those that know its key."""
    diffusion = BUNDLES / "diffusion_cotrainer"
    stages = Stage(HEBBIAN), Stage(diffusion, hands_to="teacher_weights")
    made = job(tmp_path, *stages)
    arm = replace(made.cell.arm, bundle=diffusion)
    _, second, train, _ = map(options, replace(made, cell=Cell(arm, 4, 2)).commands())
    assert "--init_weights" not in second and "--teacher_weights" not in second
    assert train["--init_weights"] == str(tmp_path / "cell" / "stage_1" / "model.pt")
    assert train["--teacher_weights"] == str(tmp_path / "cell" / "stage_2" / "model.pt")


def test_pretraining_is_part_of_what_a_cell_is(tmp_path: Path) -> None:
    plain, stage = job(tmp_path), Stage(HEBBIAN, settings={"rate": 0.5})
    digests = {
        plain.digest(),
        job(tmp_path, stage).digest(),
        job(tmp_path, stage, stage).digest(),
        job(tmp_path, replace(stage, settings={"rate": 0.4})).digest(),
    }
    assert len(digests) == 4
    assert (
        "stages" not in plain.identity()
    )  # cells of studies from before there were stages stay valid


def test_overlays_come_after_the_plan(tmp_path: Path) -> None:
    """An arm in two dimensions asks for another patch than the plan's, in training and in evaluation."""
    made, files = (
        job(tmp_path),
        [BASELINES / "configs" / f"{name}.yaml" for name in ("slices", "slices_inference")],
    )
    arm = replace(made.cell.arm, overlays=(files[0],), evaluate_overlays=(files[1],))
    flat = replace(made, cell=Cell(arm, 4, 2))
    given = [literal_eval(options(command)["--config_file"]) for command in flat.commands()]
    plan = str(tmp_path / "plan.yaml")
    assert [names[1:] for names in given] == [[plan, str(files[0])], [plan, str(files[1])]]
    assert (
        flat.digest()
        != made.digest()
        != replace(flat, cell=Cell(replace(arm, evaluate_overlays=()), 4, 2)).digest()
    )
    assert "slices_inference.yaml" in flat.identity()["configs"]


def test_equal_pretraining_is_done_once(tmp_path: Path) -> None:
    """The first stage is shared by two arms; what is not finished, or of another seed or setting, is not taken over."""
    one, two = Stage(HEBBIAN, settings={"iterations": 7}), Stage(HEBBIAN, settings={"rate": 0.5})
    donor, taker = job(tmp_path, one), job(tmp_path, one, two)
    taker = replace(taker, folder=tmp_path / "other")
    weights = tmp_path / "cell" / "stage_1" / "model.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"learnt")
    (donor.folder / "test").mkdir()
    for name in ("model.pt", "test/metrics.csv"):
        (donor.folder / name).write_text("x")
    taker.adopt([donor, taker])
    assert not (taker.folder / "stage_1").exists() and len(taker.commands()) == 4
    donor.finish()
    for stranger in (
        replace(taker, cell=replace(taker.cell, seed=3)),
        replace(job(tmp_path, two), folder=taker.folder),
    ):
        stranger.adopt([donor])
        assert not taker.folder.exists()
    taker.adopt([donor, taker])
    assert (taker.folder / "stage_1" / "model.pt").read_bytes() == b"learnt"
    assert (taker.folder / "stage_1" / "adopted.txt").read_text() == f"{donor.cell.id}\n"
    second, *_ = commands = [options(command) for command in taker.commands()]
    assert len(commands) == 3 and second["--init_weights"] == str(
        taker.folder / "stage_1" / "model.pt"
    )
    assert (
        second["--ckpt_dir"] == str(taker.folder / "stage_2")
        and not (taker.folder / "stage_2").exists()
    )


def test_arms_that_train_alike_share_one_training(tmp_path: Path) -> None:
    """An arm that only predicts in another way takes the weights over; another seed, setting or overlay does not."""
    donor, fusion = job(tmp_path), BASELINES / "configs" / "label_fusion.yaml"
    arm = replace(donor.cell.arm, name="fused", evaluate_overlays=(fusion,))
    taker = replace(donor, cell=replace(donor.cell, arm=arm), folder=tmp_path / "fused")
    for folder in (donor.folder / "test", taker.folder):
        folder.mkdir(parents=True)
    for name in ("model.pt", "test/metrics.csv", "learning_curve.csv"):
        (donor.folder / name).write_text("iteration\n30\n")
    assert taker.waits_for(donor) and donor.waits_for(taker)
    taker.adopt([donor, taker])
    assert not list(taker.folder.iterdir()) and len(taker.commands()) == 2
    donor.finish()
    for changed in (
        replace(taker.cell, seed=3),
        replace(taker.cell, arm=replace(arm, settings={})),
        replace(taker.cell, arm=replace(arm, overlays=(fusion,))),
    ):
        stranger = replace(taker, cell=changed)
        assert not stranger.waits_for(donor)
        stranger.adopt([donor])
        assert not list(taker.folder.iterdir())
    taker.adopt([donor, taker])
    assert (
        taker.folder / "adopted.txt"
    ).read_text() == f"{donor.cell.id}\n" and taker.progress() == 30
    (scores,) = (options(command) for command in taker.commands())
    assert (
        scores["--ckpt_path"] == str(taker.folder / "model.pt")
        and str(fusion) in scores["--config_file"]
    )


def test_a_training_that_has_begun_is_its_own(tmp_path: Path) -> None:
    """What a cell trained before it was killed is kept."""
    donor = job(tmp_path)
    taker = replace(
        donor,
        cell=replace(donor.cell, arm=replace(donor.cell.arm, name="b")),
        folder=tmp_path / "b",
    )
    for folder in (donor.folder / "test", taker.folder):
        folder.mkdir(parents=True)
    for name in ("model.pt", "test/metrics.csv", "learning_curve.csv"):
        (donor.folder / name).write_text("x")
    (taker.folder / "learning_curve.csv").write_text("iteration\n10\n")
    donor.finish()
    taker.adopt([donor, taker])
    assert len(taker.commands()) == 2 and taker.progress() == 10


def test_pretraining_in_common_waits(tmp_path: Path) -> None:
    one, two = Stage(HEBBIAN, settings={"iterations": 7}), Stage(HEBBIAN, settings={"rate": 0.5})
    first = job(tmp_path, one)
    assert job(tmp_path, one, two).waits_for(first)
    assert not job(tmp_path, two).waits_for(first) and not job(tmp_path).waits_for(first)
    start = tmp_path / "w.pt"
    start.write_bytes(b"w")
    assert not job(tmp_path, one, two, initialisation=start).waits_for(first)
