"""Segmentations of 3D Slicer: names and numbers, in one layer or several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.seg_nrrd import read_segmentation, read_segments

SHAPE = (5, 6, 7)  # k, j, i


def blob(*corner: int) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[tuple(slice(start, start + 2) for start in corner)] = 1
    return array


def write(path: Path, layers: list[np.ndarray], segments: list[tuple[str, int, int]]) -> Path:
    """Write layers and segments (name, value, layer) as 3D Slicer does."""
    several = len(layers) > 1
    array = np.stack(layers, axis=-1) if several else layers[0]
    image = sitk.GetImageFromArray(array, isVector=several)
    image.SetSpacing((0.5, 0.6, 2.0))
    for number, (name, value, layer) in enumerate(segments):
        for field, text in (
            ("ID", f"Segment_{number + 1}"),
            ("Name", name),
            ("LabelValue", str(value)),
            ("Layer", str(layer)),
        ):
            image.SetMetaData(f"Segment{number}_{field}", text)
    sitk.WriteImage(image, path, useCompression=True)
    return path


def test_one_layer(tmp_path: Path) -> None:
    map_ = 2 * blob(0, 0, 0) + 7 * blob(3, 3, 3)
    segments = [("liver", 2, 0), ("the tumour", 7, 0)]
    path = write(tmp_path / "a.seg.nrrd", [map_], segments)
    volume, names = read_segmentation(path)
    assert np.array_equal(volume.array, map_.T) and volume.channels == ()
    assert names == {2: "liver", 7: "the tumour"}
    assert volume.spacing == pytest.approx((0.5, 0.6, 2.0))
    assert np.array_equal(read_scan(path).array, map_.T)


def test_layers_that_do_not_overlap_are_one_map(tmp_path: Path) -> None:
    """Join layers, each of which numbers its segments from 1."""
    layers = [blob(0, 0, 0) + 2 * blob(0, 4, 4), blob(3, 3, 3)]
    segments = [("liver", 1, 0), ("spleen", 2, 0), ("tumour", 1, 1)]
    path = write(tmp_path / "a.seg.nrrd", layers, segments)
    assert [segment.number for segment in read_segments(path)] == [1, 2, 3]
    volume, names = read_segmentation(path)
    assert np.array_equal(volume.array, (layers[0] + 3 * layers[1]).T)
    assert names == {1: "liver", 2: "spleen", 3: "tumour"}
    assert np.array_equal(read_scan(path).array, volume.array)


def test_numbers_of_layers_are_kept_where_they_differ(tmp_path: Path) -> None:
    layers = [4 * blob(0, 0, 0), 9 * blob(3, 3, 3)]
    path = write(tmp_path / "a.seg.nrrd", layers, [("a", 4, 0), ("b", 9, 1)])
    volume, names = read_segmentation(path)
    assert np.array_equal(volume.array, (layers[0] + layers[1]).T)
    assert names == {4: "a", 9: "b"}


def test_numbers_above_255(tmp_path: Path) -> None:
    map_ = blob(0, 0, 0).astype(np.uint16) * 300
    path = write(tmp_path / "a.seg.nrrd", [map_], [("a", 300, 0)])
    assert np.array_equal(read_scan(path).array, map_.T)


def test_segments_that_overlap_are_refused(tmp_path: Path) -> None:
    layers = [blob(0, 0, 0), blob(1, 1, 1)]
    path = write(tmp_path / "a.seg.nrrd", layers, [("liver", 1, 0), ("tumour", 1, 1)])
    with pytest.raises(InputError, match=r"E_LABEL .*1 voxels belong to 'liver' and to 'tumour'"):
        read_scan(path)


def test_values_without_a_segment_are_refused(tmp_path: Path) -> None:
    map_ = blob(0, 0, 0) + 5 * blob(3, 3, 3)
    path = write(tmp_path / "a.seg.nrrd", [map_], [("liver", 1, 0)])
    with pytest.raises(InputError, match=r"E_LABEL .*8 voxels of the value 5"):
        read_scan(path)


@pytest.mark.parametrize("layer", [1, 3])
def test_a_layer_that_is_not_there(tmp_path: Path, layer: int) -> None:
    path = write(tmp_path / "a.seg.nrrd", [blob(0, 0, 0)], [("a", 1, layer)])
    with pytest.raises(InputError, match="E_FORMAT"):
        read_scan(path)


def test_other_nrrd_files_have_no_segments(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", [blob(0, 0, 0)], [])
    assert read_scan(path).array.max() == 1
    with pytest.raises(InputError, match="E_FORMAT"):
        read_segments(path)
