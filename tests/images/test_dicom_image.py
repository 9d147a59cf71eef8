"""2-D DICOM images: values, colours and sizes as pydicom and the standard have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, convert_color_space, pixel_array

from monai_semiseg.errors import InputError
from monai_semiseg.images import dicom_header, dicom_objects
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import Volume, collect_warnings


def in_rows(volume: Volume) -> np.ndarray:
    assert volume.shape[2] == 1
    return np.swapaxes(volume.array[:, :, 0], 0, 1)


def bundled(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


@pytest.mark.parametrize(
    "name",
    [
        "examples_palette.dcm",
        "examples_rgb_color.dcm",
        "ExplVR_BigEnd.dcm",  # planes of colours
        "SC_rgb_rle.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_small_odd.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_rgb_small_odd_jpeg.dcm",  # YBR_FULL
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",  # YBR_FULL_422
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_jpeg_no_color_transform.dcm",
        "image_dfl.dcm",
        "MR_small.dcm",
        "examples_overlay.dcm",
    ],
)
def test_files_of_other_makers_are_what_pydicom_makes_of_them(name: str) -> None:
    path = bundled(name)
    data = pydicom.dcmread(path)
    kind = data.PhotometricInterpretation
    raw = pixel_array(data, raw=True)
    if kind == "PALETTE COLOR":
        expected = apply_color_lut(raw, data)
    elif kind.startswith("YBR"):
        expected = convert_color_space(raw, kind, "RGB")
    else:
        expected = raw
    with collect_warnings() as notes:
        volume = read_scan(path)
    assert not notes
    assert np.array_equal(in_rows(volume), expected)
    assert volume.channels == (("red", "green", "blue") if expected.ndim == 3 else ())
    grid = read_grid(path)
    assert grid.shape == volume.shape and grid.unit == volume.unit
    assert np.array_equal(grid.affine, volume.affine)


def radiograph(make: SimpleNamespace, folder: Path, **tags: Any) -> Path:
    """Write a radiograph of 12 bits; a tag that is None is removed."""

    def edit(data: Dataset, k: int) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = (
            uid.ComputedRadiographyImageStorage
        )
        data.Modality = "CR"
        del data.ImagePositionPatient, data.ImageOrientationPatient
        data.PixelRepresentation = 0
        data.BitsStored = 12
        data.HighBit = 11
        values = np.random.default_rng(0).integers(0, 4096, (data.Rows, data.Columns))
        data.PixelData = values.astype("<u2").tobytes()
        for name, value in tags.items():
            if value is None:
                del data[name]
            else:
                setattr(data, name, value)

    path: Path = make.series(folder, count=1, edit=edit)[0]
    return path


def lookup_table(values: list[int], first: int) -> Dataset:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(values), first, 16])
    table.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    table.ModalityLUTType = "US"
    return table


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rescale", [(1, 0), (2.5, -100)])
@pytest.mark.parametrize("window", [False, True])
def test_values_are_rescaled_and_bright_where_the_image_is(
    make: SimpleNamespace, tmp_path: Path, kind: str, rescale: tuple[float, float], window: bool
) -> None:
    slope, intercept = rescale
    tags: dict[str, Any] = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    if window:
        tags |= {"WindowCenter": 100, "WindowWidth": 5}
    path = radiograph(make, tmp_path, PhotometricInterpretation=kind, **tags)
    stored = pydicom.dcmread(path).pixel_array.astype(float)
    if kind == "MONOCHROME1":
        stored = 4095 - stored
    np.testing.assert_allclose(in_rows(read_scan(path)), stored * slope + intercept)


def test_a_signed_image_is_inverted_within_its_own_range(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    path = radiograph(
        make,
        tmp_path,
        PhotometricInterpretation="MONOCHROME1",
        PixelRepresentation=1,
        BitsStored=16,
        HighBit=15,
    )
    stored = pydicom.dcmread(path).pixel_array.astype(float)
    assert np.array_equal(in_rows(read_scan(path)), -1 - stored)


def test_the_modality_look_up_table_is_applied(make: SimpleNamespace, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 9000, 4096).tolist()
    tags: dict[str, Any] = {"ModalityLUTSequence": [lookup_table(values, 0)]}
    tags |= {"RescaleSlope": None, "RescaleIntercept": None}
    path = radiograph(make, tmp_path, **tags)
    data = pydicom.dcmread(path)
    expected = apply_modality_lut(data.pixel_array, data)
    assert np.array_equal(expected, np.array(values)[data.pixel_array])
    assert np.array_equal(in_rows(read_scan(path)), expected)


SPACINGS: dict[str, tuple[dict[str, Any], tuple[float, float] | None, str]] = {
    "in the patient": ({}, (1.25, 1.5), ""),
    "both": ({"ImagerPixelSpacing": [2.0, 2.0]}, (1.25, 1.5), "not ImagerPixelSpacing 2 mm"),
    "both, equal": ({"ImagerPixelSpacing": [1.5, 1.25]}, (1.25, 1.5), ""),
    "detector": (
        {"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]},
        (0.1, 0.2),
        "ImagerPixelSpacing 0.2 mm is used",
    ),
    "none": ({"PixelSpacing": None}, None, ""),
    "zero": ({"PixelSpacing": [0, 0]}, None, ""),
}


@pytest.mark.parametrize("row", SPACINGS)
def test_pixel_sizes(make: SimpleNamespace, tmp_path: Path, row: str) -> None:
    tags, size, words = SPACINGS[row]
    path = radiograph(make, tmp_path, Rows=6, Columns=7, **tags)
    with collect_warnings() as notes:
        volume = read_scan(path)
    assert volume.unit == ("mm" if size else "px")
    assert volume.spacing[:2] == pytest.approx(size or (1.0, 1.0))
    assert np.array_equal(volume.affine, np.diag([*volume.spacing[:2], 1, 1]))
    assert len(notes) == bool(words) and all(words in note for note in notes)


def test_one_slice_is_a_2d_image_where_it_lies(make: SimpleNamespace, tmp_path: Path) -> None:
    def thin(data: Dataset, k: int) -> None:
        del data.SliceThickness

    for edit in (thin, lambda data, k: None):
        path = make.series(tmp_path, count=1, orientation=(0, 1, 0, 0, 0, -1), edit=edit)[0]
        volume = read_scan(path)
        assert volume.spatial_dims == 2 and volume.unit == "mm"
        make.assert_true(volume)


@pytest.mark.parametrize("frame", [0, 7, 29])
def test_a_frame_of_a_cine_if_asked(frame: int) -> None:
    path = bundled("examples_ybr_color.dcm")
    with pytest.raises(InputError, match=r"E_UNSUPPORTED .*30 frames over time"):
        read_scan(path)
    data = pydicom.dcmread(path)
    raw = pixel_array(data, raw=True, index=frame)
    expected = convert_color_space(raw, data.PhotometricInterpretation, "RGB")
    assert np.array_equal(in_rows(read_scan(path, frame=frame)), expected)


def test_a_frame_that_is_not_there(make: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E_UNSUPPORTED .*no frame 30(.|\n)*0 to 29"):
        read_scan(bundled("examples_ybr_color.dcm"), frame=30)
    with pytest.raises(InputError, match=r"E_UNSUPPORTED .*a file without frames"):
        read_scan(make.nifti(tmp_path / "a.nii"), frame=0)


@pytest.mark.parametrize("colour", [False, True])
def test_a_cut_image_is_refused(make: SimpleNamespace, tmp_path: Path, colour: bool) -> None:
    if colour:
        path = tmp_path / "a.dcm"
        path.write_bytes(bundled("examples_rgb_color.dcm").read_bytes()[:-500])
    else:
        path = radiograph(make, tmp_path)
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="E_TRUNCATED"):
        read_scan(path)


def scan_files(make: SimpleNamespace, folder: Path) -> list[Path]:
    files: list[Path] = make.series(folder)
    return files


def one_enhanced(make: SimpleNamespace, folder: Path) -> list[Path]:
    return [make.enhanced(folder / "a.dcm")]


def one_radiograph(make: SimpleNamespace, folder: Path) -> list[Path]:
    return [radiograph(make, folder)]


@pytest.mark.parametrize("build", [scan_files, one_enhanced, one_radiograph])
@pytest.mark.parametrize("as_folder", [False, True])
def test_every_file_is_parsed_once(
    make: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[[SimpleNamespace, Path], list[Path]],
    as_folder: bool,
) -> None:
    files = build(make, tmp_path)
    parsed: list[Path] = []
    dcmread = pydicom.dcmread

    def counted(path: Path, *args: Any, **kwargs: Any) -> Any:
        parsed.append(path)
        return dcmread(path, *args, **kwargs)

    monkeypatch.setattr(pydicom, "dcmread", counted)
    once = read_scan(tmp_path if as_folder else files)
    assert sorted(parsed) == sorted(files)
    monkeypatch.setattr(dicom_objects, "available_memory", lambda: 1)
    parsed.clear()
    twice = read_scan(tmp_path if as_folder else files)  # objects that do not fit are read again
    assert sorted(parsed) == sorted(files * 2)
    assert np.array_equal(once.array, twice.array) and np.array_equal(once.affine, twice.affine)


def test_a_header_is_one_whichever_way_it_is_read(make: SimpleNamespace, tmp_path: Path) -> None:
    for path in (*scan_files(make, tmp_path), *one_enhanced(make, tmp_path / "enhanced")):
        whole = dicom_header.read_object(path)
        assert whole is not None and whole[1] is not None
        assert whole[0] == dicom_header.read_header(path)


def test_the_grid_of_frames_is_known_without_their_pixels(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    path = one_enhanced(make, tmp_path)[0]
    volume = read_scan(path)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    grid = read_grid(path)
    assert grid.shape == volume.shape and np.array_equal(grid.affine, volume.affine)
