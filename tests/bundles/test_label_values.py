"""Label values end to end: split, plan, train, predict, evaluate keep the files' values."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from monai_semiseg.bundles.workflow import run_workflow
from monai_semiseg.cli.main import main
from monai_semiseg.errors import ConfigError, root_cause
from monai_semiseg.export.nifti_mask import read_label_names

from .conftest import PATCH

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
Settings = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def renumbered(
    folder: Path, numbers: dict[int, int], declared: dict[str, str] | None = None
) -> Path:
    """Renumber the labels of ``write_dataset``; no ``dataset.json`` unless declared."""
    for path in sorted((folder / "labels").iterdir()):
        label = np.asarray(nib.load(path).dataobj)
        other = np.zeros(label.shape, np.uint16)
        for old, new in numbers.items():
            other[label == old] = new
        nib.save(nib.Nifti1Image(other, nib.load(path).affine), path)
    (folder / "datalist.json").unlink()
    if declared is not None:
        entries = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in range(5)]
        content = {"labels": declared, "training": entries, "modality": {"0": "MRI"}}
        (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("numbers", "declared", "values"),
    [
        ({1: 205, 2: 420}, None, [0, 205, 420]),
        ({1: 255, 2: 255}, None, [0, 255]),
        ({1: 1, 2: 4}, {"0": "background", "1": "a", "4": "b"}, [0, 1, 4]),
    ],
    ids=["undeclared", "binary", "declared"],
)
def test_masks_have_the_numbers_of_the_label_files(
    numbers: dict[int, int],
    declared: dict[str, str] | None,
    values: list[int],
    write_dataset: Write,
    tmp_path: Path,
    settings: Settings,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = renumbered(write_dataset(tmp_path / "data", shape=(32, 32, 32)), numbers, declared)
    datalist = tmp_path / "datalist.json"
    plan = tmp_path / "plan.yaml"
    out = tmp_path / "out"
    ask = ["--labelled", "3", "--test", "1", "--output", str(datalist)]
    assert main(["split", str(data), *ask]) == 0
    assert main(["plan", str(data), "--datalist", str(datalist), "--output", str(plan)]) == 0
    planned = yaml.safe_load(plan.read_text())
    assert (planned["label_values"], planned["out_channels"]) == (values, len(values))
    assert "masks are written with the original numbers" in capfd.readouterr().err

    small = {"datalist": str(datalist), "network_def#features": [4] * 6}
    asked = settings(BUNDLE, "train", data, tmp_path / "run", **small)
    run_workflow(BUNDLE, "train", asked, [plan])
    common = ["--bundle", str(BUNDLE), "--weights", str(tmp_path / "run" / "model.pt")]
    common += ["--plan", str(plan), "--device", "cpu", "--set", f"patch_size={PATCH}"]
    common += ["--set", "network_def#features=[4,4,4,4,4,4]"]
    scans = str(data / "images")
    assert main(["predict", scans, "--output", str(out), "--overwrite", *common]) in (0, 5)
    masks = [nib.load(path) for path in sorted(out.rglob("*_seg.nii.gz"))]
    assert len(masks) == 5
    found = set(np.unique([np.asanyarray(mask.dataobj) for mask in masks]).tolist())
    assert found <= set(values) and len(found) > 1, "two iterations give noise of several classes"
    assert masks[0].get_data_dtype() == (np.uint16 if max(values) > 255 else np.uint8)
    names = read_label_names(sorted(out.rglob("*_seg.nii.gz"))[0])
    assert {str(value): name for value, name in names.items()} == planned["label_names"]
    rows = list(csv.DictReader((out / "report.csv").open()))
    volumes = [sum(float(row[f"{names[value]}_ml"]) for row in rows) for value in values[1:]]
    voxels = [
        sum(int((np.asanyarray(m.dataobj) == value).sum()) for m in masks) for value in values[1:]
    ]
    assert volumes == pytest.approx([count / 1000 for count in voxels], abs=1e-3)

    argv = ["evaluate", str(data), "--datalist", str(datalist), "--output", str(tmp_path / "eval")]
    assert main([*argv, *common]) == 0
    scored = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert [int(row["class"]) for row in scored] == values[1:]
    assert all(float(row["label_ml"]) > 0 for row in scored)
    assert "never_trained" not in json.loads((tmp_path / "eval" / "metrics.json").read_text())


def test_a_class_only_in_test_scans(
    write_dataset: Write,
    tmp_path: Path,
    settings: Settings,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Check that the class is reported by all verbs and scored (nnU-Net #2976)."""
    data = renumbered(write_dataset(tmp_path / "data", shape=(32, 32, 32)), {1: 1, 2: 1})
    datalist = tmp_path / "datalist.json"
    plan = tmp_path / "plan.yaml"
    ask = ["split", str(data), "--labelled", "3", "--test", "2", "--output", str(datalist)]
    assert main(ask) == 0
    victim = data / json.loads(datalist.read_text())["test"][0]["label"]
    label = np.asarray(nib.load(victim).dataobj)
    label[20:24, 20:24, 20:24] = 2
    nib.save(nib.Nifti1Image(label, np.eye(4)), victim)
    capfd.readouterr()
    assert main([*ask, "--overwrite"]) == 0
    words = "label 2 (label_2) occurs only in test (1 case): no training case shows it"
    assert words in capfd.readouterr().err
    assert main(["check", str(data), "--datalist", str(datalist)]) == 0
    assert words in capfd.readouterr().out
    assert main(["plan", str(data), "--datalist", str(datalist), "--output", str(plan)]) == 0
    assert words in capfd.readouterr().err
    assert yaml.safe_load(plan.read_text())["label_values"] == [0, 1]

    asked = settings(BUNDLE, "train", data, tmp_path / "run", datalist=str(datalist))
    run_workflow(BUNDLE, "train", asked, [plan])
    argv = ["evaluate", str(data), "--datalist", str(datalist), "--output", str(tmp_path / "eval")]
    argv += ["--bundle", str(BUNDLE), "--weights", str(tmp_path / "run" / "model.pt")]
    argv += ["--plan", str(plan), "--set", f"patch_size={PATCH}", "--device", "cpu"]
    assert main(argv) == 0
    assert "| label_2 (never trained) | 0.000 |" in capfd.readouterr().out
    content = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert content["never_trained"] == ["label_2"] and content["cases"] == 2
    assert content["classes"]["label_2"]["dice"]["mean"] == 0
    rows = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert sorted(row["class"] for row in rows) == ["1", "1", "2"]


@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_an_output_without_a_label_is_refused_before_any_work(
    config: str, data: Path, tmp_path: Path, settings: Settings, bundle: Path
) -> None:
    """Check an earlier release's plan: labels 0, 1 and 4, and five outputs."""
    old = {"out_channels": 5, "label_names": {"0": "background", "1": "a", "4": "b"}}
    with pytest.raises((RuntimeError, ConfigError)) as caught:
        run_workflow(bundle, config, settings(bundle, config, data, tmp_path / "x", **old))
    cause = root_cause(caught.value)
    assert isinstance(cause, ConfigError)
    assert "out_channels is 5, label_names has 3 labels: 0, 1, 4" in str(cause)


def test_a_class_for_ignored_voxels_is_refused(
    data: Path, tmp_path: Path, settings: Settings, bundle: Path
) -> None:
    """Take the bundle's own names with a datalist that calls one of their numbers ``ignore``."""
    content = json.loads((data / "datalist.json").read_text())
    content["labels"] = {"0": "background", "1": "a", "2": "Ignore"}
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps(content))
    asked = settings(bundle, "train", data, tmp_path / "x", datalist=str(datalist))
    with pytest.raises((RuntimeError, ConfigError)) as caught:
        run_workflow(bundle, "train", asked)
    cause = root_cause(caught.value)
    assert isinstance(cause, ConfigError) and "label 2 is called 'Ignore'" in str(cause)
