"""TIFF: every layout of the pixels, sizes from the tags, pages, and slides that are refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from monai_semiseg.errors import InputError
from monai_semiseg.images.grid import axes_onto
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import Volume, collect_warnings

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
GREY = RGB[..., 0]
TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32")
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "BigTIFF, big-endian": {"bigtiff": True, "byteorder": ">"},
    "tiled": {"tile": (16, 32)},
    "Deflate": {"compression": "zlib"},
    "Deflate, predictor": {"compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 7},
}


@pytest.fixture
def no_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave tifffile the few codecs that it has without this package, which may be installed."""
    from tifffile import _imagecodecs, tifffile

    monkeypatch.setattr(tifffile, "imagecodecs", _imagecodecs)
    for codecs in (tifffile.TIFF.DECOMPRESSORS, tifffile.TIFF.UNPREDICTORS):
        monkeypatch.setattr(codecs, "_codecs", {1: codecs[1]})


def in_rows(volume: Volume) -> np.ndarray:
    return np.swapaxes(volume.array[:, :, 0], 0, 1)


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        (layout, kind)
        for layout in LAYOUTS
        for kind in TYPES
        if (layout, kind) != ("Deflate, predictor", "float32")  # written by imagecodecs alone
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_every_layout_and_type(tmp_path: Path, layout: str, kind: str, colour: bool) -> None:
    values = (RGB if colour else GREY).astype(kind) * (1 if kind == "uint8" else 100)
    photometric = "rgb" if colour else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, **LAYOUTS[layout])
    volume = read_scan(tmp_path / "a.tif")
    assert np.array_equal(in_rows(volume), values) and volume.array.dtype.isnative
    assert volume.array.dtype == kind
    assert volume.channels == (("red", "green", "blue") if colour else ())
    assert volume.unit == "px" and np.array_equal(volume.affine, np.eye(4))
    grid = read_grid(tmp_path / "a.tif")
    assert grid.shape == volume.shape and grid.unit == "px"


@pytest.mark.parametrize(
    "name", ["LZW", "JPEG", "Group 4", "LZW, 16 bit", "LZW, palette", "PackBits"]
)
@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.usefixtures("no_imagecodecs")
def test_what_tifffile_does_not_decode(tmp_path: Path, name: str, orientation: int) -> None:
    """Decode it by Pillow, and keep the orientation of the file."""
    image = Image.fromarray(RGB)
    compression = {"JPEG": "jpeg", "Group 4": "group4", "PackBits": "packbits"}.get(
        name, "tiff_lzw"
    )
    if name == "Group 4":
        image = image.convert("1")
    elif name == "LZW, 16 bit":
        image = Image.fromarray(GREY.astype(np.uint16) * 200)
    elif name == "LZW, palette":
        image = image.quantize(16)
    image.save(tmp_path / "plain.tif", compression=compression)
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={274: orientation})
    shown = Image.open(tmp_path / "plain.tif")
    values = np.asarray(shown.convert("RGB") if shown.mode == "P" else shown)
    volume = read_scan(tmp_path / "a.tif")
    expected = values * np.uint8(255) if values.dtype == bool else values
    assert np.array_equal(in_rows(volume), expected)
    assert (volume.affine[0, 0] == 1.0) == (orientation == 1)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "float32"])
@pytest.mark.usefixtures("no_imagecodecs")
def test_signed_and_large_values_that_pillow_decodes(tmp_path: Path, kind: str) -> None:
    """Read the values, and the type, that tifffile reads where imagecodecs is installed."""
    ends = [-1000.5, 7e4] if kind == "float32" else [np.iinfo(kind).min, np.iinfo(kind).max]
    values = np.array([ends, [3, 4]]).astype(kind)
    write_lzw(tmp_path / "a.tif", values)
    found = in_rows(read_scan(tmp_path / "a.tif"))
    assert np.array_equal(found, values) and found.dtype == kind


@pytest.mark.usefixtures("no_imagecodecs")
def test_a_compression_that_would_lose_bits_is_refused(tmp_path: Path) -> None:
    """Refuse it, because Pillow cuts colours of 16 bits to 8."""
    write_lzw(tmp_path / "a.tif", RGB.astype(np.uint16) * 200)
    with pytest.raises(InputError, match=r"E_CODEC(.|\n)*LZW, 16 bits(.|\n)*imagecodecs"):
        read_scan(tmp_path / "a.tif")


def write_lzw(path: Path, values: np.ndarray) -> None:
    """Write a TIFF file under LZW, by another program than the ones that read it."""
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.SetCompressor("LZW")
    writer.Execute(sitk.GetImageFromArray(values, isVector=values.ndim == 3))


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_white_may_be_zero(tmp_path: Path, kind: str) -> None:
    values = GREY.astype(kind) * (1 if kind == "uint8" else 257)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert np.array_equal(in_rows(read_scan(tmp_path / "a.tif")), np.iinfo(kind).max - values)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_a_fourth_value(tmp_path: Path, planar: str, extra: str) -> None:
    values = np.dstack([RGB, GREY])
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        planarconfig=planar,
        extrasamples=[extra],
    )
    with collect_warnings() as notes:
        volume = read_scan(tmp_path / "a.tif")
    alpha = extra != "unspecified"
    assert np.array_equal(in_rows(volume), RGB if alpha else values)
    assert volume.channels == ("red", "green", "blue") + (() if alpha else ("3",))
    assert [note.split()[0] for note in notes] == ["W_ALPHA"] * alpha


def test_values_that_are_no_colours_have_numbers(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (20, 30, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    volume = read_scan(tmp_path / "a.tif")
    assert np.array_equal(in_rows(volume), values) and volume.channels == tuple("01234")


def ascii_ome() -> str:
    """Return what programs write that escape the sign of micro, as Python's ElementTree does."""
    rows, columns = (30 * size for size in GREY.shape)
    pixels = (
        f'DimensionOrder="XYZCT" Type="uint8" SizeX="{columns}" SizeY="{rows}" SizeZ="1" SizeC="1" '
        'SizeT="1" PhysicalSizeX="0.25" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="0.5" '
        'PhysicalSizeYUnit="&#181;m"'
    )
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    image = f'<Image ID="Image:0"><Pixels ID="P:0" {pixels}><TiffData/></Pixels></Image>'
    return f"<OME {space}>{image}</OME>"


SIZES: dict[str, tuple[dict[str, Any], tuple[float, float] | None]] = {
    "inch": ({"resolution": (254, 508), "resolutionunit": "INCH"}, (0.1, 0.05)),
    "cm": ({"resolution": (100, 50), "resolutionunit": "CENTIMETER"}, (0.1, 0.2)),
    "no unit": ({"resolution": (100, 50), "resolutionunit": "NONE"}, None),
    "screen": ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
    "zero": ({"resolution": (0, 0), "resolutionunit": "INCH"}, None),
    "ImageJ": (
        {"imagej": True, "resolution": (2.0, 4.0), "metadata": {"unit": "um"}},
        (0.0005, 0.00025),
    ),
    "ImageJ, pixel": ({"imagej": True, "resolution": (2.0, 2.0), "metadata": {}}, None),
    "OME": (
        {
            "ome": True,
            "metadata": {
                "PhysicalSizeX": 0.25,
                "PhysicalSizeXUnit": "\u00b5m",
                "PhysicalSizeY": 500,
                "PhysicalSizeYUnit": "nm",
            },
        },
        (0.00025, 0.0005),
    ),
    "OME, nothing": ({"ome": True}, None),
    "OME, ASCII": ({"metadata": None, "description": ascii_ome()}, (0.00025, 0.0005)),
}


@pytest.mark.parametrize("row", SIZES)
def test_pixel_sizes(tmp_path: Path, row: str) -> None:
    tags, size = SIZES[row]
    tifffile.imwrite(tmp_path / "a.tif", GREY.repeat(30, 0).repeat(30, 1), **tags)
    with collect_warnings() as notes:
        volume = read_scan(tmp_path / "a.tif")
    assert volume.unit == ("mm" if size else "px")
    assert volume.spacing[:2] == pytest.approx(size or (1.0, 1.0))
    assert [note.split()[0] for note in notes] == ["W_SPACING"] * (row == "screen")
    assert read_grid(tmp_path / "a.tif").unit == volume.unit


@pytest.mark.parametrize("orientation", [1, 3, 6, 9])
def test_a_mask_without_a_pixel_size_lies_on_an_image_with_one(
    tmp_path: Path, orientation: int
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        GREY,
        resolution=(254, 508),
        resolutionunit="INCH",
        extratags=[(274, "H", 1, orientation, True)],
    )
    shown = {1: GREY, 3: GREY[::-1, ::-1], 6: np.rot90(GREY, -1), 9: GREY}[orientation]  # 9 is none
    Image.fromarray(np.ascontiguousarray(shown)).save(tmp_path / "a.png")
    image, mask = read_scan(tmp_path / "a.tif"), read_scan(tmp_path / "a.png")
    assert (image.unit, mask.unit) == ("mm", "px")
    for label, other in ((mask.grid, image.grid), (image.grid, mask.grid)):
        axes_onto(label, other)
    Image.fromarray(GREY[1:]).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"label has \d+ x \d+ pixels, the image"):
        axes_onto(read_grid(tmp_path / "b.png"), image.grid, tmp_path / "b.png")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_pages_are_a_stack_only_if_asked(tmp_path: Path, colour: bool, known: bool) -> None:
    pages = RNG.integers(0, 256, (6, 20, 30, *([3] if colour else [])), dtype=np.uint8)
    tags: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack"}
    if known:
        axes = "ZYXS" if colour else "ZYX"
        sizes = {"unit": "mm", "spacing": 3, "axes": axes}
        tags = {"imagej": True, "resolution": (2.0, 2.0), "metadata": sizes}
    tifffile.imwrite(tmp_path / "a.tif", pages, **tags)
    with pytest.raises(InputError, match=r"E_NDIM .*6 pages(.|\n)*stack_pages"):
        read_scan(tmp_path / "a.tif")
    volume = read_scan(tmp_path / "a.tif", stack_pages=True)
    assert np.array_equal(volume.array.swapaxes(0, 2), pages)
    assert volume.spatial_dims == 3 and len(volume.channels) == (3 if colour else 0)
    assert volume.unit == ("mm" if known else "px")
    assert volume.spacing == ((0.5, 0.5, 3.0) if known else (1.0, 1.0, 1.0))
    assert read_grid(tmp_path / "a.tif", stack_pages=True).shape == (30, 20, 6)


def test_pages_of_several_sizes_are_no_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in (20, 30):
            file.write(GREY[:size], metadata=None)
    with pytest.raises(InputError, match="2 pages of several kinds"):
        read_scan(tmp_path / "a.tif", stack_pages=True)


@pytest.mark.parametrize("program", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("axes", ["ZCYX", "TZYX"])
def test_channels_and_times_are_no_slices(tmp_path: Path, program: str, axes: str) -> None:
    pages = RNG.integers(0, 256, (4, 2, 20, 30), dtype=np.uint8)
    tags: dict[str, Any] = {} if program == "shaped" else {program: True}
    tifffile.imwrite(
        tmp_path / "a.tif", pages, photometric="minisblack", metadata={"axes": axes}, **tags
    )
    for read in (read_scan, read_grid):
        with pytest.raises(InputError, match=rf"E_NDIM .*2 axes \({axes[0]} 4, {axes[1]} 2\)"):
            read(tmp_path / "a.tif", stack_pages=True)


@pytest.mark.parametrize("program", ["imagej", "ome"])
def test_pages_that_the_file_calls_channels(tmp_path: Path, program: str) -> None:
    values = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)
    tags: dict[str, Any] = {program: True, "metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", **tags)
    volume = read_scan(tmp_path / "a.tif", channels=["DAPI", "GFP", "RFP"])
    assert np.array_equal(in_rows(volume), np.moveaxis(values, 0, -1))
    assert volume.channels == ("DAPI", "GFP", "RFP")
    assert read_scan(tmp_path / "a.tif").channels == ("0", "1", "2")
    assert read_scan(tmp_path / "a.tif", stack_pages=True).shape == (30, 20, 3)


def pyramid(path: Path, kind: str) -> None:
    if kind == "svs":
        tifffile.imwrite(path, RGB, photometric="rgb", tile=(16, 16), description="Aperio Image")
        return
    with tifffile.TiffWriter(path, ome=kind == "ome") as file:
        levels = {"subifds": 2} if kind in ("subifds", "ome") else {}
        file.write(RGB, photometric="rgb", tile=(16, 16), **levels)
        for step in (2, 4):
            file.write(RGB[::step, ::step], photometric="rgb", tile=(16, 16), subfiletype=1)


@pytest.mark.parametrize("kind", ["svs", "ome", "subifds", "pages"])
def test_slides_and_pyramids_are_to_be_cut_into_tiles(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.svs" if kind == "svs" else "a.tif")
    pyramid(path, kind)
    for read in (read_scan, read_grid):
        with pytest.raises(InputError, match=r"E_UNSUPPORTED(.|\n)*cut into tiles"):
            read(path)


def test_a_small_copy_of_a_picture_is_passed_over(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    assert np.array_equal(in_rows(read_scan(tmp_path / "a.tif")), RGB)


def test_colours_of_print_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"E_DTYPE .*CMYK"):
        read_scan(tmp_path / "a.tif")


@pytest.mark.parametrize("layout", ["plain", "BigTIFF, big-endian", "tiled", "Deflate"])
@pytest.mark.parametrize("keep", [0.01, 0.4, 0.8, 0.99, 0.9995])
def test_a_file_that_is_cut_is_refused(tmp_path: Path, layout: str, keep: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", **LAYOUTS[layout])
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: min(int(len(content) * keep), len(content) - 1)])
    with pytest.raises(InputError) as caught:
        read_scan(tmp_path / "a.tif")
    assert caught.value.code in ("E_TRUNCATED", "E_FORMAT")


def test_a_huge_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    """Write 40,000 pixels in a square into a file of a few bytes."""
    entries = [(256, 4, 1, 400_000), (257, 4, 1, 400_000), (258, 3, 1, 8), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 400_000), (279, 4, 1, 10)]
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"E_SIZE .*400000x400000"):
        read_scan(tmp_path / "a.tif")


def test_nan_in_a_picture_of_real_numbers(tmp_path: Path) -> None:
    values = GREY.astype(np.float32)
    values[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(InputError, match=r"E_NONFINITE .*1 of 2240"):
        read_scan(tmp_path / "a.tif")


def test_tiles_that_the_file_does_not_list_are_missing(tmp_path: Path) -> None:
    """Change the header to a picture of twice the size."""
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", tile=(16, 16))
    content = (tmp_path / "a.tif").read_bytes()
    width = struct.pack("<HHI", 256, 4, 1)
    assert content.count(width) == 1
    at = content.index(width) + len(width)
    larger = content[:at] + struct.pack("<I", 112) + content[at + 4 :]
    (tmp_path / "a.tif").write_bytes(larger)
    with pytest.raises(InputError, match=r"E_TRUNCATED .*9 of 21 parts"):
        read_scan(tmp_path / "a.tif")
