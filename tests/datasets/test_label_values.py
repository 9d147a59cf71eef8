"""Values of label files, and the messages of check and plan for invalid ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.label_sections import untrained_lines, untrained_warnings
from monai_semiseg.datasets.label_values import (
    MAX_VALUE,
    class_lookup,
    class_names,
    class_values,
    ignore_value,
    in_file_numbers,
    label_numbers,
    mask_dtype,
    matched_values,
    require_one_ignore,
)
from monai_semiseg.errors import ConfigError, LabelError
from monai_semiseg.images.scan import read_scan

NUMBERS = st.sets(st.integers(1, MAX_VALUE), max_size=12).map(lambda some: [0, *sorted(some)])


def with_255(label: np.ndarray) -> np.ndarray:
    """Add a border of ignored voxels, as in some nnU-Net datasets."""
    out = label.copy()
    out[2] = 255
    return out


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., Path]:
    """Write five scans with labels 0, 1, 2, which a function changes; declared or not."""

    def make(
        change: Callable[[np.ndarray], np.ndarray],
        declared: dict[str, str] | None = None,
        changed: int = 5,
    ) -> Path:
        rng = np.random.default_rng(0)
        entries = []
        for n in range(5):
            label = np.zeros((12, 12, 12), np.int16)
            label[3:8, 3:8, 3:8] = 1
            label[8:10, 3:8, 3:8] = 2
            label = change(label) if n < changed else label
            image = rng.normal(size=label.shape).astype(np.float32)
            entries.append({"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"})
            for path, array in zip(entries[-1].values(), (image, label), strict=True):
                (tmp_path / path).parent.mkdir(exist_ok=True)
                nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / path)
        if declared is not None:
            content = {"labels": declared, "training": entries}
            (tmp_path / "dataset.json").write_text(json.dumps(content))
        return tmp_path

    return make


@given(NUMBERS)
def test_classes_and_numbers_are_each_others_inverse(values: list[int]) -> None:
    """Restore the numbers of the label file, whatever their gaps."""
    names = {str(value): f"label_{value}" for value in reversed(values)}
    assert class_values(names, len(values)) == values
    classes = np.random.default_rng(0).integers(0, len(values), (3, 4, 5)).astype(np.uint8)
    written = in_file_numbers(classes, values)
    assert written.tolist() == [[[values[c] for c in row] for row in plane] for plane in classes]
    assert np.array_equal(class_lookup(values)[written], classes)
    assert written.max() <= np.iinfo(mask_dtype(values)).max
    strangers = sorted(set(range(max(values) + 1)) - set(values))[:50]
    assert (class_lookup(values)[strangers] == -1).all()


@pytest.mark.parametrize(
    ("names", "outputs", "kind", "words"),
    [
        ({"0": "background", "-1": "a"}, None, ConfigError, "numbers -1, 0"),
        ({"1": "a", "2": "b"}, None, ConfigError, "0 for the background"),
        ({"0": "background", "70000": "a"}, None, ConfigError, "up to 65535"),
        ({"background": 0}, None, ConfigError, "number in the label files -> name"),
        ({"0": "background", "4": "a"}, 5, ConfigError, "out_channels is 5, label_names has 2"),
        ({"0": "background", "3": " IGNORE"}, 2, ConfigError, "label_names has 1 labels: 0"),
    ],
)
def test_names_that_no_network_can_have(
    names: dict[str, str], outputs: int | None, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        class_values(names, outputs)


@pytest.mark.parametrize("labels", [{0: "ignore", 1: "a"}, {0: "b", 3: "ignore", 4: "Ignore"}])
def test_one_label_may_be_called_ignore_but_not_the_background(labels: dict[int, str]) -> None:
    with pytest.raises(LabelError, match="are called 'ignore'"):
        require_one_ignore(labels, "x.json")
    one = {0: "background", 255: " IGNORE", 1: "a"}
    require_one_ignore(one)
    assert ignore_value(one) == 255 and class_names(one) == {0: "background", 1: "a"}
    assert ignore_value({0: "background", 2: "ignored region"}) is None


def test_numbers_of_other_names_are_refused() -> None:
    assert matched_values(None, {0: "background", 2: "b"}) == (0, 1, 2), "classes are the numbers"
    assert matched_values([0, 4], {4: "b", 0: "background"}) == (0, 4)
    with pytest.raises(ConfigError, match="a name for every number"):
        matched_values([0, 1], {0: "background", 4: "b"})


def test_labels_of_nnunets_second_version() -> None:
    expected = {0: "background", 4: "a"}
    assert label_numbers({"0": "background", "4": "a"}) == expected
    assert label_numbers({"background": 0, "a": 4}) == expected
    with pytest.raises(ConfigError, match="labels"):
        label_numbers({"whole": [1, 2]})


REFUSED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, str] | None, str]] = {
    "border of 255": (with_255, None, "value 255 beside 0, 1, 2 in 5 label files"),
    "ignore instead of background": (
        lambda label: label,
        {"0": "ignore", "1": "background", "2": "a"},
        "the labels 0 are called 'ignore'",
    ),
    "background that is not 0": (
        lambda label: label + 1,
        {"1": "background", "2": "a", "3": "b"},
        "label 1 is called 'background', and 0 is not declared",
    ),
    "smoothed": (
        lambda label: np.rint(gaussian_filter((label > 0) * 255.0, 1)).astype(np.uint8),
        None,
        "these look like grey levels",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_check_plan_and_split_refuse(
    fault: str, folders: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Refuse what nnU-Net #2884 trained as a class: masks of 256 grey levels."""
    change, declared, words = REFUSED[fault]
    data = folders(change, declared)
    assert main(["check", str(data)]) == 2
    out = capsys.readouterr().out
    assert "E_LABEL" in out and words in out and "to do: " in out
    assert "become classes" not in out and len(out.splitlines()) < 150
    for verb in (["plan"], ["split", "--labelled", "2"]):
        assert main([*verb, str(data), "--output", str(tmp_path / "output")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("fault", ["border of 255", "smoothed", "half"])
def test_one_odd_label_does_not_stop_the_others(
    fault: str, folders: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Check that it is left out by name, and not a class."""
    change = (lambda label: label * np.float32(0.5)) if fault == "half" else REFUSED[fault][0]
    data = folders(change, changed=1)
    file = tmp_path / "plan.yaml"
    assert main(["plan", str(data), "--output", str(file)]) == 3
    assert yaml.safe_load(file.read_text())["label_values"] == [0, 1, 2]
    assert "left out: 0: E_LABEL" in capsys.readouterr().err
    assert main(["check", str(data)]) == 2
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert all(line.split()[2] == "0" and "labels/0.nii.gz" in line for line in errors) and errors
    file = tmp_path / "datalist.json"
    assert main(["split", str(data), "--labelled", "2", "--output", str(file)]) == 3
    assert "left out: 0: E_LABEL" in capsys.readouterr().err
    assert "labels/0.nii.gz" not in file.read_text().split("left_out")[0]


def test_every_label_is_read_once(
    folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Refuse it by each verb that reads voxels."""
    data, read = folders(lambda label: label), Counter[str]()

    def counting(source: Any, **settings: Any) -> Any:
        read[str(source)] += 1
        return read_scan(source, **settings)

    for room in ("dataset", "label_files"):
        monkeypatch.setattr(f"monai_semiseg.datasets.{room}.read_scan", counting)
    for verb in (["check"], ["plan", "--output"], ["split", "--labelled", "2", "--output"]):
        output = [str(tmp_path / verb[0])] if verb[-1] == "--output" else []
        assert main([verb[0], str(data), *verb[1:], *output]) == 0
        assert len(read) == 10 and set(read.values()) == {1}, verb
        read.clear()


def test_a_background_that_no_file_shows_is_said(
    folders: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Warn, because its output would learn nothing."""
    data = folders(lambda label: label + 1)
    assert main(["check", str(data)]) == 0
    assert "no label shows class 0 (background)" in capsys.readouterr().out
    assert main(["plan", str(data), "--output", str(tmp_path / "plan.yaml")]) == 0
    assert "label 0 (background): no training case shows it" in capsys.readouterr().err


def test_255_in_every_file_of_declared_labels(
    folders: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Refuse the plan: no label is left."""
    data = folders(with_255, {"0": "background", "1": "a", "2": "b"})
    for verb in (["check", str(data)], ["plan", str(data), "--output", str(tmp_path / "p.yaml")]):
        assert main(verb) == 2
        text = "".join(capsys.readouterr())
        assert "255 often marks voxels to ignore" in text and "undeclared values 255 (" in text


def test_255_is_a_class_where_it_is_declared_or_alone(
    folders: Callable[..., Path], tmp_path: Path
) -> None:
    for change, declared, values in (
        (with_255, {"0": "background", "1": "a", "2": "b", "255": "edge"}, [0, 1, 2, 255]),
        (lambda label: (label > 0) * np.uint8(255), None, [0, 255]),
    ):
        data = folders(change, declared)
        assert main(["check", str(data)]) == 0
        file = tmp_path / f"{len(values)}_values.yaml"
        assert main(["plan", str(data), "--output", str(file)]) == 0
        assert yaml.safe_load(file.read_text())["label_values"] == values
        (data / "dataset.json").unlink(missing_ok=True)


def test_check_prints_every_value_with_its_share(
    folders: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = folders(lambda label: np.array([0, 205, 420], np.int16)[label])
    assert main(["check", str(data), "--output", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    share = 125 / 12**3
    assert f"label 205   label_205                {share:8.3%} of the voxels, in 5 of 5" in out
    assert "label values 0, 205, 420 become classes 0, 1, 2" in out
    rows = json.loads((tmp_path / "r.json").read_text())["labels"]
    assert [(r["value"], r["voxels"], r["scans"]) for r in rows] == [
        (0, 5 * (12**3 - 175), 5),
        (205, 5 * 125, 5),
        (420, 5 * 50, 5),
    ]
    assert rows[1]["share"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("value", "declared", "code", "level"),
    [
        (7, None, 2, "error"),
        (3, None, 0, "warning"),
        (7, {"0": "background", "1": "a", "2": "b", "7": "c"}, 0, "warning"),
    ],
)
def test_a_value_in_one_scan_only(
    value: int,
    declared: dict[str, str] | None,
    code: int,
    level: str,
    folders: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Check that a slip of the brush is not a class: outside of the others' row, and undeclared."""

    def brushed(label: np.ndarray) -> np.ndarray:
        label[0, 0, 0] = value
        return label

    assert main(["check", str(folders(brushed, declared, changed=1))]) == code
    line = next(x for x in capsys.readouterr().out.splitlines() if "occurs in" in x)
    assert line.startswith(level)
    assert f"value {value} occurs in labels/0.nii.gz only (1 voxels)" in line


def test_values_that_are_not_whole_are_counted(
    folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folders(lambda label: label * np.float32(0.25)))]) == 2
    assert "not whole numbers at 175 of 1728 voxels, such as 0.25, 0.5;" in capsys.readouterr().out


def test_labels_without_training_scans_are_named() -> None:
    names = {0: "background", 1: "a", 2: "b", 5: "c"}
    scans = {"training": {0: 3, 1: 3}, "validation": {0: 1, 2: 1}, "test": {2: 2, 9: 1}}
    lines = untrained_lines(scans, names)
    assert list(lines) == [2, 9]
    assert "label 2 (b) occurs only in validation (1 case) and test (2 cases)" in lines[2]
    assert "label 9 (label_9) occurs only in test (1 case)" in lines[9]
    assert untrained_lines({"test": {2: 1}}, names) == {}, "nothing is trained here"
    assert untrained_warnings(names, scans["training"], scans) == [
        lines[2],
        "label 5 (c): no training case shows it",
        lines[9],
    ]


def test_split_notes_which_scans_show_which_label(
    folders: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(lambda label: label * 3)
    file = tmp_path / "datalist.json"
    (data / "labels" / "4.nii.gz").write_bytes(b"broken")
    ask = ["--labelled", "3", "--test", "1", "--output", str(file)]
    assert main(["split", str(data), *ask]) == 3
    scans = json.loads(file.read_text())["label_scans"]
    total = {value: sum(part.get(value, 0) for part in scans.values()) for value in "036"}
    assert total == {"0": 4, "3": 4, "6": 4}
    assert "left out: 4: E_NOT_NIFTI" in capsys.readouterr().err
