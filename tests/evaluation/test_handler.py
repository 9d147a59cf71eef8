"""The evaluate workflow's handler: per-case scores in mm, tables and the worst cases."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset, MetaTensor
from PIL import Image

from monai_semiseg.errors import ConfigError, GeometryError
from monai_semiseg.evaluation import handler
from monai_semiseg.evaluation.handler import CaseMetrics
from monai_semiseg.evaluation.metrics import Scale
from monai_semiseg.evaluation.summary import as_table

NAMES = {"0": "background", "1": "left", "2": "right"}
AFFINE = torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0], dtype=torch.float64))


def item(name: str, offset: int = 0, shape: tuple[int, ...] = (12, 12, 8)) -> dict[str, Any]:
    """Return a case whose prediction of class 1 is off by ``offset`` voxels along one axis."""
    label = np.zeros((1, 12, 12, 8))
    label[:, 2:5, 2:6, 2:6] = 1
    label[:, 2:5, 7:10, 2:6] = 2
    pred = np.where(label == 2, 2, np.roll(label == 1, offset, axis=1))
    meta = {"filename_or_obj": f"/somewhere/labels/{name}.nii.gz"}
    pred = np.pad(
        pred, [(0, 0), *((0, n - m) for n, m in zip(shape, label.shape[1:], strict=True))]
    )
    return {
        "pred": MetaTensor(torch.tensor(pred), AFFINE),
        "label": MetaTensor(torch.tensor(label), AFFINE, meta),
    }


def evaluate(folder: Path, items: list[dict[str, Any]], **settings: Any) -> Engine:
    engine = Engine(lambda _, batch: [items[index] for index in batch["index"]])

    class Batch(list[Any]):
        """The scans of a batch, and which they are."""

        def __getitem__(self, key: Any) -> Any:
            return self.index if key == "index" else super().__getitem__(key)

    batches = []
    for index in range(len(items)):
        batch = Batch([{"native": torch.rand(1, 12, 12, 8)}])
        batch.index = [index]
        batches.append(batch)
    CaseMetrics(str(folder), **{"label_names": NAMES, **settings}).attach(engine)
    engine.run(batches)
    return engine


def test_scores_are_in_mm_and_per_case(tmp_path: Path) -> None:
    engine = evaluate(
        tmp_path, [item("good"), item("shifted", 2), item("gone", 6)], about={"section": "test"}
    )
    rows = {
        (row["case"], row["class"]): row
        for row in csv.DictReader((tmp_path / "metrics.csv").open())
    }
    assert list(rows) == list(itertools.product(("good", "shifted", "gone"), ("1", "2")))
    assert [
        float(rows[case, "1"]["dice"]) for case in ("good", "shifted", "gone")
    ] == pytest.approx([1.0, 1 / 3, 0.0], abs=1e-5)
    assert float(rows["shifted", "1"]["hd95_mm"]) == 4.0, "2 voxels of 2 mm"
    assert all(float(rows[case, "2"]["dice"]) == 1 for case in ("good", "shifted", "gone"))
    assert float(rows["good", "1"]["label_ml"]) == pytest.approx(3 * 4 * 4 * 6 / 1000)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content == engine.state.metrics["summary"]
    assert (content["section"], content["cases"]) == ("test", 3)


def test_cases_and_patients_are_those_of_the_datalist(tmp_path: Path) -> None:
    """Check that cases with label files of the same name stay apart.

    Intervals are over the patients.
    """
    entries = [
        {"image": f"{case}/scan.nii.gz", "label": f"{case}/mask.nii.gz", "group": case[:2]}
        for case in ("p1a", "p1b", "p2a", "p2b")
    ]
    content = {"training": [], "test": entries, "labels": NAMES}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    items = [item("mask", n) for n in range(4)]
    for one, entry in zip(items, entries, strict=True):
        one["label"].meta["filename_or_obj"] = f"/somewhere/{entry['label']}"
    settings = {"datalist": str(tmp_path / "datalist.json"), "dataset_dir": "/somewhere"}
    intervals = []
    for name, more in (("alone", {}), ("together", {"dataset_dir": "/somewhere"})):
        evaluate(tmp_path / name, items, **{**settings, "dataset_dir": "/elsewhere", **more})
        rows = list(csv.DictReader((tmp_path / name / "metrics.csv").open()))
        summary = json.loads((tmp_path / name / "metrics.json").read_text())
        intervals.append(summary["classes"]["left"]["dice"]["interval_95"])
    assert [row["case"] for row in rows[::2]] == [f"{e['image'][:3]}/mask" for e in entries]
    assert [row["group"] for row in rows[::2]] == ["p1", "p1", "p2", "p2"]
    dice = [float(row["dice"]) for row in rows[::2]]
    assert intervals[1] == pytest.approx([np.mean(dice[2:]), np.mean(dice[:2])], abs=1e-5)
    assert intervals[0] is None  # unknown, they are one case by name


def test_failed_cases_have_the_names_of_scored_ones(tmp_path: Path) -> None:
    files = [f"{case}/mask.nii.gz" for case in ("p1", "p2")]
    content = {"training": [], "test": [{"image": "i", "label": file} for file in files]}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    metrics = CaseMetrics(
        str(tmp_path), NAMES, datalist=str(tmp_path / "datalist.json"), dataset_dir="/d"
    )
    engine = Engine(lambda _, batch: [item("good")])
    metrics.attach(engine)
    bad = {"failed": {"case": [f"/d/{files[1]}"], "code": ["E_X"], "reason": ["why"]}}
    engine.run([[{"native": torch.rand(1, 12, 12, 8)}], bad])
    assert [failed.case for failed in metrics.failed] == ["p2/mask"]


def test_an_absent_class_counts_as_the_scans_diagonal(tmp_path: Path) -> None:
    missed = item("missed")
    missed["pred"][missed["pred"] == 2] = 0
    evaluate(tmp_path, [missed])
    row = list(csv.DictReader((tmp_path / "metrics.csv").open()))[1]
    assert float(row["hd95_mm"]) == pytest.approx(math.dist((0, 0, 0), (24, 12, 24)), abs=1e-4)


def test_the_worst_cases_are_pictured_worst_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    draw = handler.draw_previews

    def spy(previews: Any, path: Path, names: Any) -> Path:
        titles.extend(preview.title for preview in previews)
        return draw(previews, path, names)

    monkeypatch.setattr(handler, "draw_previews", spy)
    evaluate(tmp_path, [item("best"), item("worst", 6), item("middle", 1), item("bad", 2)], show=3)
    assert [title.split(":")[0] for title in titles] == ["worst", "bad", "middle"]
    assert "Dice 0.500" in titles[0]
    assert Image.open(tmp_path / "worst_cases.png").size[1] > 800


def test_the_worst_cases_face_one_way(tmp_path: Path) -> None:
    """Check that a scan that is stored in another order of its voxels gives the same picture."""
    scan = torch.rand(1, 12, 12, 8)
    flip = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    flip[0, 3], flip[2, 3] = 11, 7
    pictures = []
    for turned in (False, True):
        case = item("a", 1)
        if turned:
            for key, value in case.items():
                meta = {"filename_or_obj": value.meta.get("filename_or_obj")}
                case[key] = MetaTensor(value.as_tensor().flip(1, 3), value.affine @ flip, meta)
        native = scan.flip(1, 3) if turned else scan
        engine = Engine(lambda _, batch, case=case: [case])
        CaseMetrics(str(tmp_path), NAMES).attach(engine)
        engine.run([[{"native": native}]])
        pictures.append(np.asarray(Image.open(tmp_path / "worst_cases.png").convert("RGB")))
    assert np.array_equal(*pictures)


def test_a_second_run_starts_over(tmp_path: Path) -> None:
    metrics = CaseMetrics(str(tmp_path), NAMES)
    for name in ("first", "second"):
        engine = Engine(lambda _, batch, name=name: [item(name)])
        metrics.attach(engine)
        engine.run([[{"native": torch.rand(1, 12, 12, 8)}]])
        assert {row.case for row in metrics.rows} == {name}


def test_a_label_on_another_grid_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="other"):
        evaluate(tmp_path, [item("other", shape=(12, 12, 9))])
    assert not (tmp_path / "metrics.csv").exists()


def test_a_shifted_label_is_an_error(tmp_path: Path) -> None:
    """Move the case to another place: 3 mm along the first axis."""
    shifted = item("shifted")
    shifted["label"].affine = AFFINE + 3 * torch.eye(4)[[0]].T @ torch.eye(4)[[3]]
    with pytest.raises(GeometryError, match="3 mm off the image") as caught:
        evaluate(tmp_path, [shifted])
    assert "shifted.nii.gz" in str(caught.value)
    assert not (tmp_path / "metrics.csv").exists()


def test_a_label_stored_backwards_has_the_score_of_the_plain_one(tmp_path: Path) -> None:
    """Reverse the case along the first and third axis, with the affine that goes with it."""
    plain, backwards = item("plain", 1), item("backwards", 1)
    flip = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    flip[0, 3], flip[2, 3] = 11, 7
    stored = plain["label"].as_tensor().flip(1, 3)
    meta = dict(backwards["label"].meta, affine=AFFINE @ flip)
    backwards["label"] = MetaTensor(stored, meta=meta)
    evaluate(tmp_path, [plain, backwards])
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert float(rows[0]["dice"]) == pytest.approx(2 / 3, abs=1e-5)
    scores = [{key: row[key] for key in row if key != "case"} for row in rows]
    assert scores[:2] == scores[2:]


def test_nothing_to_evaluate_is_an_error(tmp_path: Path) -> None:
    """Check that an engine without data ends without an error and writes nothing."""
    engine = Engine(lambda _, batch: [])
    engine.data_loader = DataLoader(Dataset([]))
    with pytest.raises(ConfigError, match="no scan to evaluate"):
        CaseMetrics(str(tmp_path), NAMES).attach(engine)


GAPS = {"label_names": {"0": "background", "205": "a", "420": "b"}, "label_values": [0, 205, 420]}


def test_classes_are_scored_by_the_numbers_of_the_label_file(tmp_path: Path) -> None:
    case = item("gaps", 2)
    case["label"] = MetaTensor(torch.tensor([0, 205, 420])[case["label"].long()], AFFINE)
    case["label"].meta["filename_or_obj"] = "gaps.nii.gz"
    evaluate(tmp_path, [case], **GAPS)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(row["class"], row["name"]) for row in rows] == [("205", "a"), ("420", "b")]
    assert [float(row["dice"]) for row in rows] == pytest.approx([1 / 3, 1], abs=1e-5)
    assert "never_trained" not in json.loads((tmp_path / "metrics.json").read_text())


def test_names_and_numbers_must_match(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name for every number"):
        CaseMetrics(str(tmp_path), NAMES, label_values=[0, 1, 4])


def test_a_label_without_a_class_counts_as_missed_where_it_is(tmp_path: Path) -> None:
    """Find the number by the datalist's name; scans without it are not scored for it."""
    datalist = tmp_path / "datalist.json"
    labels = {**NAMES, "7": "lesion"}
    datalist.write_text(json.dumps({"training": [], "labels": labels}))
    strange = item("strange")
    strange["label"][:, 10:12, 10:12] = 7
    engine = evaluate(tmp_path, [strange, item("plain")], datalist=str(datalist))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    found = [(row["case"], row["name"], float(row["dice"])) for row in rows if row["class"] == "7"]
    assert found == [("strange", "lesion", 0.0)]
    summary = json.loads((tmp_path / "metrics.json").read_text())
    assert summary["never_trained"] == ["lesion"]
    assert summary["foreground"]["dice"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    table = as_table(engine.state.metrics["summary"])
    assert "| lesion (never trained) | 0.000" in table and "| left | 1.000" in table


def test_a_class_that_no_training_scan_shows_is_named(tmp_path: Path) -> None:
    datalist = tmp_path / "datalist.json"
    scans = {"training": {"0": 2, "1": 2}, "test": {"0": 1, "1": 1, "2": 1}}
    datalist.write_text(json.dumps({"training": [], "label_scans": scans}))
    evaluate(tmp_path, [item("case")], datalist=str(datalist))
    assert json.loads((tmp_path / "metrics.json").read_text())["never_trained"] == ["right"]


def partial(name: str, hidden: Any, **settings: Any) -> dict[str, Any]:
    """Return a case of which some voxels are to be ignored.

    There, the prediction is all class 1.
    """
    case = item(name, **settings)
    case["label"][(0, *hidden)] = -1
    case["pred"][(0, *hidden)] = 1
    return case


def test_ignored_voxels_are_in_no_score(tmp_path: Path) -> None:
    """Compare with the same scan, whose second half holds background in both maps."""
    half = (slice(None), slice(None), slice(4, None))
    cut = item("a", 1)
    for kind in ("label", "pred"):
        cut[kind][(0, *half)] = 0
    rows = {}
    for folder, cases in (("cut", [cut]), ("partial", [partial("a", half, offset=1), item("b")])):
        evaluate(tmp_path / folder, cases)
        rows[folder] = list(csv.DictReader((tmp_path / folder / "metrics.csv").open()))
    assert [row.pop("ignored_share") for row in rows["partial"]] == ["0.50000"] * 2 + [
        "0.00000"
    ] * 2
    assert rows["partial"][:2] == rows["cut"], "and no column where nothing is ignored"
    assert 0 < float(rows["cut"][0]["dice"]) < 1
    content = json.loads((tmp_path / "partial" / "metrics.json").read_text())
    assert content["ignored"] == {"cases": 1, "share": 0.25} and content["cases"] == 2
    assert "left out: voxels to ignore, 25.0% of the voxels, in 1 of 2 cases" in as_table(content)
    assert "ignored" not in json.loads((tmp_path / "cut" / "metrics.json").read_text())


def test_a_case_of_nothing_but_ignore_is_not_scored(tmp_path: Path) -> None:
    nothing = partial("nothing", (slice(None),))
    evaluate(tmp_path, [nothing, item("b", 2)])
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["nothing_known"] == ["nothing"] and content["cases"] == 1
    assert content["failed"] == []
    with pytest.raises(ConfigError, match="no case was scored"):
        evaluate(tmp_path, [nothing])


def photograph(name: str, offset: int, unit: str = "px") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a 2-D colour case whose prediction is off by ``offset`` pixels, and its batch."""
    label = np.zeros((1, 30, 20, 1))
    label[:, 5:15, 5:15] = 1
    pred = np.roll(label, offset, axis=1)
    affine = torch.eye(4, dtype=torch.float64)
    meta = {"filename_or_obj": f"/labels/{name}.png", "unit": "px"}
    colours = np.random.default_rng(0).integers(0, 256, (3, 30, 20, 1))
    native = MetaTensor(
        torch.tensor(colours, dtype=torch.float32),
        affine,
        {"unit": unit, "channels": ["red", "green", "blue"], "format": "picture"},
    )
    item = {
        "pred": MetaTensor(torch.tensor(pred), affine),
        "label": MetaTensor(torch.tensor(label), affine, meta),
    }
    return item, {"native": native}


def evaluate_photographs(folder: Path, cases: list[Any]) -> CaseMetrics:
    metrics = CaseMetrics(str(folder), NAMES)
    engine = Engine(lambda _, batch: [batch[0]["item"]])
    metrics.attach(engine)
    engine.run([[{**source, "item": item}] for item, source in cases])
    return metrics


def test_photographs_are_scored_in_pixels(tmp_path: Path) -> None:
    cases = [photograph("good", 0), photograph("shifted", 3)]
    evaluate_photographs(tmp_path, cases)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert tuple(rows[0])[3:9] == Scale(2, "px").columns
    by_case = {row["case"]: row for row in rows if row["class"] == "1"}
    assert float(by_case["shifted"]["dice"]) == pytest.approx(0.7, abs=1e-5)
    assert float(by_case["shifted"]["hd95_px"]) == 3.0
    assert float(by_case["good"]["label_area_px"]) == 100
    summary = json.loads((tmp_path / "metrics.json").read_text())
    assert "hd95_px" in summary["foreground"] and "hd95_mm" not in json.dumps(summary)
    table = as_table(summary)
    assert "95HD (px)" in table and "mm" not in table
    sheet = np.asarray(Image.open(tmp_path / "worst_cases.png").convert("RGB"), dtype=int)
    assert np.ptp(sheet, axis=-1).max() > 200, "in colour"


def test_a_case_of_another_unit_fails_by_name(tmp_path: Path) -> None:
    cases = [photograph("a", 0), photograph("b", 1, "mm"), photograph("c", 1)]
    metrics = evaluate_photographs(tmp_path, cases)
    assert [failed.case for failed in metrics.failed] == ["b"]
    assert "distances in mm" in metrics.failed[0].reason and "px" in metrics.failed[0].reason
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert {row["case"] for row in rows} == {"a", "c"}
    with pytest.raises(SystemExit) as left:
        metrics.finish()
    assert left.value.code == 3
