"""A run is opened for review: its images are found again, and decisions are kept at once."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monai_semiseg.cli.main import main
from monai_semiseg.datasets.dataset import open_dataset
from monai_semiseg.errors import ConfigError, InputError, OutputError
from monai_semiseg.export.nifti_mask import write_mask
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.labelling.decisions import FILE_NAME, read_decisions
from monai_semiseg.labelling.review_cases import ChangedMaskError, open_review
from monai_semiseg.storage.files import sha256_of
from tests.labelling.review_builders import AFFINE, NAMES, in_file_order, kidney, write_run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def test_the_most_doubtful_comes_first(out: Path) -> None:
    with open_review(out) as review:
        overview = review.overview()
    assert [case["id"] for case in overview["cases"]] == ["b", "sub/a", "c"]
    assert [case["flags"] for case in overview["cases"]] == [["field_of_view"], [], []]
    assert overview["without"][0]["reason"] == "ends too early"
    assert [label["name"] for label in overview["labels"]] == ["kidney", "cyst"]
    assert overview["cases"][1]["sizes"]["kidney"] == pytest.approx(0.396)  # 198 voxels of 2 mm3


def test_a_run_in_any_format_is_opened(
    tmp_path: Path, kit: SimpleNamespace, make_runner: Callable[..., BatchRunner]
) -> None:
    """Show what the run has read, of NIfTI, DICOM and an archive."""
    root = tmp_path / "in"
    kit.write_nifti(root / "x" / "plain.nii.gz", kit.values((8, 6, 5)))
    kit.write_dicom(root / "series", kit.values((9, 7, 6), 1), (1.0, 1.0, 2.0))
    inner = kit.write_nifti(tmp_path / "zipped.nii.gz", kit.values((6, 6, 7), 2))
    with zipfile.ZipFile(root / "more.zip", "w") as archive:
        archive.write(inner, "there/zipped.nii.gz")
    make_runner().run()
    with open_review(tmp_path / "out") as review:
        assert len(review.cases) == 3
        for number, case in enumerate(review.cases):
            image = review.images.get(number)
            volume = review._read_image(case)
            assert image.mask.any()
            # The network of these tests labels all that is above one half.
            above = np.sort((volume.array > 0.5).sum(axis=(0, 1)))
            assert np.array_equal(np.sort((image.mask > 0).sum(axis=(0, 1))), above)


def test_a_decision_is_on_the_disk_at_once(out: Path) -> None:
    with open_review(out) as review:
        digest = review.images.get(0).mask_sha256
        assert digest == sha256_of(out / "b_seg.nii.gz")
        review.decide(0, "accepted", " fine\x1b[31m ", digest)
        (made,) = read_decisions(out).values()
        assert (made.id, made.decision, made.note) == ("b", "accepted", "fine\\x1b[31m")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", made.time)
        assert review.overview()["cases"][0]["decision"]["current"]
        review.decide(0, "needs_correction", "", digest)
        assert read_decisions(out)["b"].decision == "needs_correction"
        review.decide(0, None, "", "")
        assert read_decisions(out) == {}


def test_a_row_that_a_person_wrote_meanwhile_stays(out: Path) -> None:
    with open_review(out) as review:
        (out / FILE_NAME).write_text("id,decision\nc,rejected\n")
        review.decide(0, "accepted", "", review.images.get(0).mask_sha256)
    assert {case: made.decision for case, made in read_decisions(out).items()} == {
        "b": "accepted",
        "c": "rejected",
    }


def test_decisions_that_cannot_be_read_stay_as_they_are(out: Path) -> None:
    with open_review(out) as review:
        digest = review.images.get(0).mask_sha256
        (out / FILE_NAME).write_text("id,decision\nc,perhaps\n")
        with pytest.raises(ConfigError, match="line 2"):
            review.decide(0, "accepted", "", digest)
    assert (out / FILE_NAME).read_text() == "id,decision\nc,perhaps\n"


def test_a_mask_that_changed_is_not_accepted_unseen(out: Path) -> None:
    with open_review(out) as review:
        seen = review.images.get(0).mask_sha256
        other = in_file_order(kidney(3))
        write_mask(other, AFFINE, out / "b_seg.nii.gz", NAMES)
        with pytest.raises(ChangedMaskError, match="b_seg"):
            review.decide(0, "accepted", "", seen)
        assert read_decisions(out) == {}
        new = review.images.get(0)
        assert new.mask_sha256 != seen and new.mask.sum() == other.sum()
        review.decide(0, "accepted", "", new.mask_sha256)
        write_mask(in_file_order(kidney(0)), AFFINE, out / "b_seg.nii.gz", NAMES)
        assert not review.overview()["cases"][0]["decision"]["current"]
        (out / "b_seg.nii.gz").unlink()
        with pytest.raises(InputError, match="no such file"):
            review.decide(0, "accepted", "", new.mask_sha256)


def test_a_full_disk_is_said(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_review(out) as review:
        digest = review.images.get(0).mask_sha256

        def full(path: object, content: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left"):
            review.decide(0, "accepted", "", digest)


def test_images_that_moved_are_found_where_the_user_says(out: Path, tmp_path: Path) -> None:
    (tmp_path / "in").rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="--input"), open_review(out):
        pass
    with open_review(out, [tmp_path / "moved"]) as review:
        assert all(review.images.get(number).mask.any() for number in range(3))
    (tmp_path / "moved" / "b.nii.gz").unlink()
    with open_review(out, [tmp_path / "moved"]) as review:
        with pytest.raises(InputError, match="was not found"):
            review.images.get(0)
        assert review.images.get(1).mask.any()


def without(key: str) -> Callable[[Path], None]:
    def edit(out: Path) -> None:
        content: dict[str, Any] = json.loads((out / "report.json").read_text())
        content.pop(key)
        (out / "report.json").write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda out: (out / "report.json").unlink(), "no such file"),
        (lambda out: (out / "report.json").write_text('{"cases": ['), "cannot be read"),
        (lambda out: (out / "report.json").write_text("[]"), "cannot be read"),
        (lambda out: (out / "report.json").write_text('{"cases": [{}]}'), "cannot be read"),
        (lambda out: (out / "report.json").write_text('{"cases": []}'), "no mask in this run"),
        (without("inputs"), "does not say where the images are"),
        (lambda out: (out / FILE_NAME).write_text("nothing\n"), FILE_NAME),
    ],
    ids=["none", "cut", "list", "entry", "empty", "old", "decisions"],
)
def test_a_folder_that_is_no_run_is_refused_before_anything_is_served(
    out: Path, damage: Callable[[Path], object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(out)
    assert main(["review", str(out), "--no_browser"]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) <= 4


def test_accepted_masks_become_labels(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Write a table that is a dataset: accepted masks are labels, others are not."""
    with open_review(out) as review:
        for number, verdict in enumerate(("accepted", "rejected")):
            review.decide(number, verdict, "", review.images.get(number).mask_sha256)
    (tmp_path / "in" / "c.png").unlink()
    table = tmp_path / "accepted.csv"
    assert main(["review", str(out), "--table", str(table)]) == 3
    said = capsys.readouterr()
    assert "left out: c: the image was not found" in said.err
    assert "1 accepted, 1 rejected, 0 needs correction, 1 undecided" in said.out
    dataset = open_dataset(table)
    labels = {
        case.id: None if case.label is None else (dataset.root / str(case.label)).resolve()
        for case in dataset.cases
    }
    assert labels == {"b": out / "b_seg.nii.gz", "sub/a": None}
    assert all(file.is_file() for case in dataset.cases for file in case.image_paths(dataset.root))
    assert main(["review", str(out), "--table", str(table)]) == 2
    assert "exists" in capsys.readouterr().err
