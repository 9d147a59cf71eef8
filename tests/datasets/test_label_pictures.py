"""Masks of pictures through check, split, plan and training's reader; masks among photographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from PIL import Image, ImageFilter

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.datasets.label_maps import is_label_map
from monai_semiseg.transforms.labels import CheckLabeld

READER = "monai_semiseg.datasets.label_files.LabelReader"

COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
Write = Callable[[Path, np.ndarray, int], object]


def truth(case: int) -> np.ndarray:
    """Return a map (rows, columns) of 0, 1, 2."""
    label = np.zeros((24, 20), np.uint8)
    label[3:12, 2 : 9 + case] = 1
    label[14:21, 10:] = 2
    return label


def photograph(case: int) -> Image.Image:
    pixels = np.random.default_rng(case).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def palette(path: Path, label: np.ndarray, order: list[int]) -> None:
    """Write a palette picture in which number n has the index ``order[n]``."""
    picture = Image.fromarray(np.array(order, np.uint8)[label])
    picture.putpalette(COLOURS[np.argsort(order)].tobytes())
    picture.save(path)


def several(path: Path, label: np.ndarray, _: int) -> None:
    for number, name in ((1, "_gland1"), (2, "_vessel")):
        mask = ((label == number) * 255).astype(np.uint8)
        Image.fromarray(mask).save(path.with_name(f"{path.stem}{name}.png"))


def blurred(label: np.ndarray) -> Image.Image:
    white = ((label == 1) * 255).astype(np.uint8)
    return Image.fromarray(white).filter(ImageFilter.GaussianBlur(0.8))


DECLARED = {"gland": "#ff0000", "vessel": "#0000ff"}
ORDERS = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
KINDS: dict[str, tuple[Write, dict[str, str], list[str]]] = {
    "numbers": (lambda path, label, _: Image.fromarray(label).save(path), {}, []),
    "colours": (lambda path, label, _: Image.fromarray(COLOURS[label]).save(path), DECLARED, []),
    "palettes in any order": (
        lambda path, label, case: palette(path, label, ORDERS[case % 3]),
        DECLARED,
        [],
    ),
    "one palette": (lambda path, label, _: palette(path, label, ORDERS[0]), {}, []),
    "grey in RGB": (
        lambda path, label, _: Image.fromarray(np.repeat(label[..., None], 3, -1)).save(path),
        {},
        [],
    ),
    "several files": (several, {}, ["--merge_masks"]),
    "antialiased": (
        lambda path, label, _: blurred(label).save(path),
        {},
        ["--label_threshold", "127"],
    ),
}


def write(root: Path, kind: str) -> Path:
    """Write five photographs with their masks."""
    save, declared, _ = KINDS[kind]
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for case in range(5):
        photograph(case).save(root / "images" / f"c{case}.png")
        save(root / "labels" / f"c{case}.png", truth(case), case)
    if declared:
        masks = [
            {"image": f"images/c{case}.png", "label": f"labels/c{case}.png"} for case in range(5)
        ]
        content = {"labels": declared, "training": masks}
        (root / "dataset.json").write_text(json.dumps(content))
    return root


def right(kind: str, case: int) -> np.ndarray:
    return np.asarray(blurred(truth(case))) > 127 if kind == "antialiased" else truth(case)


@pytest.mark.parametrize("kind", KINDS)
def test_the_road(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, options = write(tmp_path / "data", kind), KINDS[kind][2]
    datalist, plan = tmp_path / "datalist.json", tmp_path / "plan.yaml"
    assert main(["check", str(data), *options]) == 0, capsys.readouterr().out
    split = ["split", str(data), "--labelled", "3", "--test", "1", *options]
    assert main([*split, "--output", str(datalist)]) == 0, capsys.readouterr().err
    assert main(["plan", str(data), "--datalist", str(datalist), "--output", str(plan)]) == 0
    values = [0, 1] if kind == "antialiased" else [0, 1, 2]
    planned = yaml.safe_load(plan.read_text())
    assert planned["label_values"] == values and planned["spatial_dims"] == 2
    if kind in ("colours", "palettes in any order", "several files"):
        assert planned["label_names"] == {"0": "background", "1": "gland", "2": "vessel"}
    load = Compose(
        [
            LoadImaged("label", reader=READER, datalist=str(datalist)),
            EnsureChannelFirstd("label"),
            CheckLabeld("label", len(values), values, str(datalist)),
        ]
    )
    content: dict[str, Any] = json.loads(datalist.read_text())
    for entry in [*content["training"], *content["validation"], *content["test"]]:
        files = entry["label"] if isinstance(entry["label"], list) else [entry["label"]]
        found = load({"label": [str(data / file) for file in files]})["label"]
        case = int(Path(entry["image"]).stem[1:])
        assert found.shape == (1, 20, 24, 1)
        assert np.array_equal(found[0, ..., 0].numpy().T, right(kind, case))


def test_palettes_that_differ_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refuse them: without declared colours nobody knows what an index means."""
    data = write(tmp_path / "data", "palettes in any order")
    (data / "dataset.json").unlink()
    assert main(["check", str(data)]) == 2
    assert "another palette: index 0 is " in capsys.readouterr().out
    output = ["--output", str(tmp_path / "output")]
    for verb in (["plan"], ["split", "--labelled", "2"]):
        assert main([*verb, str(data), *output]) == 2
        assert "another palette" in capsys.readouterr().err


def test_a_split_holds_the_palette(tmp_path: Path) -> None:
    """Keep the palette, so that evaluation refuses a label that was saved with another one."""
    data, file = write(tmp_path / "data", "one palette"), tmp_path / "datalist.json"
    assert main(["split", str(data), "--labelled", "3", "--output", str(file)]) == 0
    shared = {"0": "#000000", "1": "#ff0000", "2": "#0000ff"}
    assert json.loads(file.read_text())["label_rule"] == {"palette": shared}


def test_undeclared_colours_come_with_their_declaration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Write what the message says into dataset.json, and the data set is sound."""
    data = write(tmp_path / "data", "colours")
    (data / "dataset.json").unlink()
    assert main(["check", str(data)]) == 2
    line = next(line for line in capsys.readouterr().out.splitlines() if "colours" in line)
    (data / "dataset.json").write_text(line[line.index('{"labels"') :])
    assert json.loads((data / "dataset.json").read_text())["labels"]["background"] == "#000000"
    assert main(["check", str(data)]) == 0


def test_an_undeclared_colour_fails_its_case_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data", "colours")
    pixels = COLOURS[truth(2)]
    pixels[23, 19] = [9, 9, 9]
    Image.fromarray(pixels).save(data / "labels" / "c2.png")
    ask = ["split", str(data), "--labelled", "3", "--output", str(tmp_path / "datalist.json")]
    assert main(ask) == 3
    assert "#090909 (1 voxels, the first at column 19, row 23)" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "several files"])
def test_masks_among_photographs(kind: str, tmp_path: Path) -> None:
    """Check that they are skipped by name and content, and photographs are not."""
    KINDS[kind][0](tmp_path / "a_mask.png", np.kron(truth(0), np.ones((4, 4), np.uint8)), 0)
    photograph(0).resize((80, 96)).save(tmp_path / "a.jpg")
    photograph(1).resize((80, 96)).save(tmp_path / "b_mask.jpg")
    assert is_label_map(tmp_path / "a_mask.png")
    with find_cases(tmp_path, progress=False) as found:
        assert sorted(case.source.name for case in found.cases) == ["a.jpg", "b_mask.jpg"]
        assert [one.source.name for one in found.skipped] == ["a_mask.png"]
