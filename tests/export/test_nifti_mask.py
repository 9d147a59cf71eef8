"""Masks on disk: the scan's geometry and xform codes, names of labels, equal bytes each time."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from monai_semiseg.errors import ConfigError, OutputError
from monai_semiseg.export.nifti_mask import NiftiSpace, file_stem, read_label_names, write_mask

NAMES = {0: "background", 1: "Anterior", 2: "Linke Hälfte ✓"}
MASK = np.random.default_rng(0).integers(0, 3, size=(7, 5, 4))


def affine(
    spacing: tuple[float, ...], angles: tuple[float, ...] = (0, 0, 0), flip: int = 1
) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing)
    matrix[:3, 0] *= flip
    matrix[:3, 3] = (-101.25, 33.1, 7.77)
    return matrix


AFFINES = {
    "straight": affine((1.0, 1.0, 1.0)),
    "anisotropic": affine((0.4375, 0.4375, 3.3)),
    "oblique": affine((0.9, 1.1, 2.7), (12, -7, 31)),
    "slightly oblique": affine((1.0, 1.0, 1.2), (0.01, 0.002, -0.005)),
    "half turned": affine((1.0, 2.0, 3.0), (180, 0, 90)),
    "left-handed": affine((1.0, 1.3, 2.0), (5, 6, 7), flip=-1),
}
SHEARED = affine((1.0, 1.0, 2.0)) + np.array([[0, 0, 0.4, 0], [0] * 4, [0] * 4, [0] * 4])


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0), (0, 2), (4, 0), (2, 4)])
@pytest.mark.parametrize("name", AFFINES)
def test_affine_and_codes_are_the_scans(tmp_path: Path, name: str, codes: tuple[int, int]) -> None:
    matrix = AFFINES[name]
    image = nib.load(write_mask(MASK, matrix, tmp_path / "a_seg.nii.gz", NAMES, NiftiSpace(codes)))
    assert np.abs(image.affine - matrix).max() < 1e-4
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == codes
    assert np.allclose(image.header.get_zooms(), np.linalg.norm(matrix[:3, :3], axis=0), atol=1e-6)
    if codes[0]:
        assert np.abs(image.get_qform() - matrix).max() < 1e-4
    assert np.array_equal(np.asanyarray(image.dataobj), MASK)


def test_a_scan_without_xform_codes_keeps_none(tmp_path: Path) -> None:
    """Keep none, because nibabel assumes the affine from the voxel sizes for both files."""
    header = nib.Nifti1Header()
    header.set_data_shape(MASK.shape)
    header.set_zooms((1.0, 1.5, 2.0))
    image = nib.load(
        write_mask(MASK, header.get_best_affine(), tmp_path / "a.nii.gz", NAMES, NiftiSpace((0, 0)))
    )
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (0, 0)
    assert np.allclose(image.affine, header.get_best_affine())


def test_a_sheared_affine_stays_in_the_sform(tmp_path: Path) -> None:
    image = nib.load(write_mask(MASK, SHEARED, tmp_path / "a.nii.gz", NAMES))
    assert np.abs(image.affine - SHEARED).max() < 1e-5
    assert np.isfinite(image.get_qform()).all()


@pytest.mark.parametrize("name", AFFINES)
def test_itk_sees_the_same_geometry(tmp_path: Path, name: str) -> None:
    image = sitk.ReadImage(str(write_mask(MASK, AFFINES[name], tmp_path / "a.nii.gz", NAMES)))
    for index in ((0, 0, 0), (6, 0, 3), (2, 4, 1)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        assert np.allclose(lps * [-1, -1, 1], (AFFINES[name] @ [*index, 1])[:3], atol=1e-3)
        assert image.GetPixel(index) == MASK[index]


@pytest.mark.parametrize(
    ("highest", "dtype"), [(2, np.uint8), (255, np.uint8), (256, np.uint16), (1000, np.uint16)]
)
def test_smallest_type_that_holds_every_class(tmp_path: Path, highest: int, dtype: type) -> None:
    mask = np.array([[[0, 1, highest]]])
    image = nib.load(
        write_mask(mask, np.eye(4), tmp_path / "a.nii.gz", {0: "background", highest: "last"})
    )
    assert image.get_data_dtype() == dtype
    assert image.dataobj.slope == 1.0
    assert np.asanyarray(image.dataobj).tolist() == [[[0, 1, highest]]]


@pytest.mark.parametrize("value", [256, 420, 65_535])
def test_a_number_without_a_name_is_not_cut_to_8_bits(tmp_path: Path, value: int) -> None:
    path = write_mask(np.array([[[0, value]]]), np.eye(4), tmp_path / "a.nii.gz", {0: "background"})
    assert np.asanyarray(nib.load(path).dataobj).tolist() == [[[0, value]]]


@pytest.mark.parametrize("value", [-1, 65_536])
def test_numbers_that_16_bits_do_not_hold_are_refused(tmp_path: Path, value: int) -> None:
    with pytest.raises(ConfigError, match="from 0 to 65535"):
        write_mask(np.array([[[0, value]]]), np.eye(4), tmp_path / "a.nii.gz", NAMES)
    assert not list(tmp_path.iterdir())


def test_label_names_survive(tmp_path: Path) -> None:
    assert read_label_names(write_mask(MASK, np.eye(4), tmp_path / "a.nii.gz", NAMES)) == NAMES


@pytest.mark.parametrize(
    "comment", [None, b"a scanner's remark", b'["labels"]', b'{"other": 1}', b"\xff\xfe"]
)
def test_files_without_label_names(tmp_path: Path, comment: bytes | None) -> None:
    image = nib.Nifti1Image(MASK.astype(np.uint8), np.eye(4))
    if comment is not None:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment))
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_label_names(tmp_path / "a.nii.gz") == {}


def test_equal_masks_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_mask(MASK, AFFINES["oblique"], tmp_path / "a.nii.gz", NAMES).read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert write_mask(MASK, AFFINES["oblique"], tmp_path / "b.nii.gz", NAMES).read_bytes() == first
    other = np.where(MASK == 1, 2, MASK)
    assert write_mask(other, AFFINES["oblique"], tmp_path / "b.nii.gz", NAMES).read_bytes() != first


def test_the_header_says_what_it_is_and_in_which_unit(tmp_path: Path) -> None:
    header = nib.load(write_mask(MASK, np.eye(4), tmp_path / "a.nii.gz", NAMES)).header
    assert header.get_intent()[0] == "label"
    assert header.get_xyzt_units()[0] == "mm"
    assert b"research use" in bytes(header["descrip"])


def test_a_write_that_fails_leaves_the_old_mask_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mask(MASK, np.eye(4), tmp_path / "sub" / "a.nii.gz", NAMES)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_mask(MASK * 0, np.eye(4), path, NAMES)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["a.nii.gz"]
    assert len(gzip.decompress(before)) > 352


@pytest.mark.parametrize("name", ["scan", "x" * 200, "1.2.840.1.45", "ä" * 100])
def test_usual_names_stay(name: str) -> None:
    assert file_stem(name) == name


def test_long_names_are_cut_and_stay_apart() -> None:
    names = ["x" * 250 + end for end in "ab"] + ["患" * 80, "患" * 81]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == 4
    assert all(
        len(stem.encode()) <= 200 and stem[:50] == name[:50]
        for stem, name in zip(stems, names, strict=True)
    )
