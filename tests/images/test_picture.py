"""PNG, JPEG and BMP: every kind is read to its last bit and shown as a viewer shows it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import LoadImage, Orientation
from PIL import Image, ImageOps

from monai_semiseg.errors import InputError
from monai_semiseg.images import volume as volume_module
from monai_semiseg.images.grid import axes_onto, onto_grid
from monai_semiseg.images.picture import read_palette_indices
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.images.scan import read_grid, read_scan
from monai_semiseg.images.volume import Volume, collect_warnings

RNG = np.random.default_rng(0)
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
COLOUR_TYPES = {"grey": (0, 1), "grey+alpha": (4, 2), "RGB": (2, 3), "RGBA": (6, 4)}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(array: np.ndarray, bits: int, colour: int, interlaced: bool, extra: bytes = b"") -> bytes:
    """Encode an array ``(rows, columns, values)`` by hand: pillow writes few of these kinds."""
    rows, columns = array.shape[:2]
    passes = [array[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [array]
    kind = ">u2" if bits == 16 else "u1"
    lines = [b"\0" + row.astype(kind).tobytes() for part in passes if part.size for row in part]
    head = struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + extra
        + chunk(b"IDAT", zlib.compress(b"".join(lines)))
        + chunk(b"IEND", b"")
    )


def in_rows(volume: Volume) -> np.ndarray:
    """Return the values as ``(rows, columns[, channels])``, as pictures are stored."""
    assert volume.shape[2] == 1
    return np.swapaxes(volume.array[:, :, 0], 0, 1)


@pytest.mark.parametrize("kind", COLOUR_TYPES)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_png_keeps_every_bit(tmp_path: Path, kind: str, bits: int, interlaced: bool) -> None:
    colour, count = COLOUR_TYPES[kind]
    array = RNG.integers(0, 2**bits, (11, 13, count))
    (tmp_path / "a.png").write_bytes(png(array, bits, colour, interlaced))
    with collect_warnings() as notes:
        volume = read_scan(tmp_path / "a.png")
    colours = array[..., : 1 if count < 3 else 3].squeeze()
    assert np.array_equal(in_rows(volume), colours)
    assert volume.array.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert volume.channels == (("red", "green", "blue") if count > 2 else ())
    assert volume.unit == "px" and volume.spacing == (1.0, 1.0, 1.0) and volume.spatial_dims == 2
    assert volume.meta == {"format": "picture", "picture": "PNG"}
    assert [note.split()[0] for note in notes] == ["W_ALPHA"] * (count in (2, 4))


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_opaque_picture_needs_no_remark(tmp_path: Path, count: int, bits: int) -> None:
    array = RNG.integers(0, 2**bits, (5, 6, count))
    array[..., -1] = 2**bits - 1
    (tmp_path / "a.png").write_bytes(png(array, bits, 4 if count == 2 else 6, False))
    with collect_warnings() as notes:
        read_scan(tmp_path / "a.png")
    assert not notes


def test_16_bits_that_hold_8_are_said(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (5, 6, 1))
    (tmp_path / "a.png").write_bytes(png(array, 16, 0, False))
    with collect_warnings() as notes:
        volume = read_scan(tmp_path / "a.png")
    assert np.array_equal(in_rows(volume), array[..., 0]) and volume.array.dtype == np.uint16
    assert len(notes) == 1 and "W_RANGE" in notes[0] and "above 255" in notes[0]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_is_black_and_white(tmp_path: Path, kind: str) -> None:
    array = RNG.integers(0, 2, (9, 11)).astype(bool)
    Image.fromarray(array).save(tmp_path / "a", format=kind)
    assert np.array_equal(in_rows(read_scan(tmp_path / "a")), array * 255)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("grey", [False, True])
def test_a_palette_is_colours_for_images_and_numbers_for_labels(
    tmp_path: Path, kind: str, grey: bool
) -> None:
    indices = RNG.integers(0, 5, (9, 11), dtype=np.uint8)
    palette = RNG.integers(0, 256, (5, 1 if grey else 3), dtype=np.uint8)
    palette = np.broadcast_to(palette, (5, 3))
    image = Image.frombytes("P", (11, 9), indices.tobytes())
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a", format=kind)
    volume = read_scan(tmp_path / "a")
    colours = palette[indices]
    assert np.array_equal(in_rows(volume), colours[..., 0] if grey else colours)
    assert volume.channels == (() if grey else ("red", "green", "blue"))
    found = read_palette_indices(tmp_path / "a")
    assert found is not None
    assert np.array_equal(in_rows(found[0]), indices) and found[0].channels == ()
    assert np.array_equal(found[1][:5], palette)
    assert found[0].grid.shape == volume.grid.shape


def test_transparent_palette_entries_are_said_and_other_pictures_have_no_palette(
    tmp_path: Path,
) -> None:
    indices = RNG.integers(0, 3, (9, 11), dtype=np.uint8)
    image = Image.frombytes("P", (11, 9), indices.tobytes())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png", transparency=bytes([0, 255, 255]))
    with collect_warnings() as notes:
        read_scan(tmp_path / "a.png")
    assert f"{(indices == 0).sum()} pixels are not opaque" in notes[0]
    Image.new("RGB", (3, 2)).save(tmp_path / "b.png")
    assert read_palette_indices(tmp_path / "b.png") is None


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_what_pillow_decodes(tmp_path: Path, mode: str) -> None:
    array = RNG.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    Image.fromarray(array).convert(mode).save(tmp_path / "a.jpg", quality=90)
    volume = read_scan(tmp_path / "a.jpg")
    assert np.array_equal(in_rows(volume), np.asarray(Image.open(tmp_path / "a.jpg")))
    assert volume.meta["picture"] == "JPEG"


def with_orientation(folder: Path, kind: str, orientation: int) -> tuple[Path, np.ndarray]:
    """Write a picture with an orientation; return what a viewer shows, as pillow has it."""
    array = np.zeros((24, 40, 3), np.uint8)
    array[:8, :16, 0] = 200
    array[16:, 24:, 1] = 150
    array[3:6, 20:30] = 90
    image = Image.fromarray(array)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"a.{kind}"
    image.save(path, exif=exif, **({"quality": 95} if kind == "jpg" else {}))
    return path, np.asarray(ImageOps.exif_transpose(Image.open(path)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_an_orientation_is_shown_as_a_viewer_shows_it(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    path, shown = with_orientation(tmp_path, kind, orientation)
    volume = read_scan(path)
    assert volume.shape == (40, 24, 1)  # the file's own order, for masks that go back to it
    load = LoadImage(reader=ScanReader(), image_only=True, ensure_channel_first=True)
    turned = Orientation("RAS", labels=None)(load(str(path)))
    assert np.array_equal(turned[..., 0].permute(2, 1, 0).numpy(), shown)
    grid = read_grid(path)
    assert grid.shape == volume.shape and np.array_equal(grid.affine, volume.affine)
    Image.fromarray(shown[..., 0]).save(tmp_path / "mask.png")  # as it was drawn in a viewer
    mask = read_scan(tmp_path / "mask.png")
    on_file = onto_grid(mask.array, mask.grid, volume.grid)
    assert np.array_equal(on_file, volume.array[..., 0])


def test_an_unsound_orientation_is_none(tmp_path: Path) -> None:
    path, _ = with_orientation(tmp_path, "jpg", 77)
    assert np.array_equal(read_scan(path).affine, np.eye(4))


def test_pictures_of_other_sizes_do_not_lie_on_each_other(tmp_path: Path) -> None:
    for name, size in (("a.png", (7, 5)), ("b.png", (5, 7))):
        Image.new("L", size).save(tmp_path / name)
    with pytest.raises(InputError, match="5 x 7 pixels, the image 7 x 5; one of them"):
        axes_onto(read_grid(tmp_path / "b.png"), read_grid(tmp_path / "a.png"), tmp_path)


MODES = {"PNG": ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"], "BMP": ["1", "L", "P", "RGB"]} | {
    "TIFF": ["1", "L", "P", "RGB", "RGBA", "I;16", "F"],
    "JPEG": ["L", "RGB"],
}


@pytest.mark.parametrize(
    ("kind", "mode", "seed"),
    [(k, m, n) for n, (k, m) in enumerate((k, m) for k, modes in MODES.items() for m in modes)],
)
def test_any_mode_and_any_size_is_what_pillow_shows(
    tmp_path: Path, kind: str, mode: str, seed: int
) -> None:
    """Compare with Pillow's own conversion to RGB, or its values where it would cut them."""
    rng = np.random.default_rng(seed)
    for size in ((1, 1), (1, 9), (8, 1), tuple(rng.integers(2, 40, 2))):
        bits = rng.integers(0, 256, (*size, 4), dtype=np.uint8)
        if mode == "I;16":
            image = Image.fromarray(bits.view("<u2")[..., 0])
        else:
            image = Image.fromarray(bits).convert("RGB" if mode == "P" else "RGBA").convert(mode)
        path = tmp_path / "a"
        image.save(path, format=kind)
        with collect_warnings():
            found = in_rows(read_scan(path))
        shown = Image.open(path)
        if mode in ("I;16", "F"):
            assert np.array_equal(found, np.asarray(shown))
            continue
        opaque = shown.convert("RGBA").convert("RGB") if mode != "LA" else shown.convert("L")
        rgb = np.asarray(opaque.convert("RGB"))
        assert np.array_equal(np.broadcast_to(found.reshape(*size[:2], -1), rgb.shape), rgb)


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (60, 50)) -> bytes:
    stream = io.BytesIO()
    array = RNG.integers(0, 256, (*size, 4), dtype=np.uint8)
    Image.fromarray(array).convert("RGB").convert(mode).save(stream, format=kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_a_picture_that_is_cut_is_refused(
    tmp_path: Path, kind: str, mode: str, keep: float
) -> None:
    content = encoded(kind, mode)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError) as caught:
        read_scan(path)
    assert caught.value.code in ("E_TRUNCATED", "E_FORMAT") and kind in str(caught.value)
    assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def flipped(content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[content.index(b"IDAT") + 40] ^= 4
    return bytes(damaged)


def claims(columns: int, rows: int) -> bytes:
    """Return a PNG file of a few bytes whose header claims any size."""
    content = png(np.zeros((1, 1, 1)), 8, 0, False)
    head = struct.pack(">II", columns, rows) + content[24:29]
    return content[:8] + chunk(b"IHDR", head) + content[33:]


def cmyk(_: Path) -> bytes:
    return encoded("JPEG", "CMYK")


FAULTS: dict[str, tuple[str, Callable[[Path], bytes], str, str]] = {
    "empty": ("a.png", lambda _: b"", "E_FORMAT", "an empty file"),
    "zero bytes": ("a.png", lambda _: bytes(900), "E_FORMAT", "nothing but zero bytes"),
    "HTML": ("a.png", lambda _: b"\n<!DOCTYPE html><p>404", "E_FORMAT", "an HTML page"),
    "HTML, JPEG": ("a.jpg", lambda _: b"<html>Log in", "E_FORMAT", "an HTML page"),
    "LFS": (
        "a.tif",
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:ab",
        "E_FORMAT",
        "a Git LFS pointer",
    ),
    "text": ("a.bmp", lambda _: b"these are no pixels", "E_UNSUPPORTED", "no picture"),
    "GIF": ("a.gif", lambda _: encoded("GIF", "L"), "E_UNSUPPORTED", "a GIF picture"),
    "WebP": ("a.webp", lambda _: encoded("WEBP"), "E_UNSUPPORTED", "a WebP picture"),
    "JPEG 2000": ("a.jp2", lambda _: encoded("JPEG2000"), "E_UNSUPPORTED", "a JPEG 2000"),
    "CMYK": ("a.jpg", cmyk, "E_DTYPE", "CMYK, for print"),
    "flipped byte": ("a.png", lambda _: flipped(encoded("PNG")), "E_CHECKSUM", "IDAT"),
    "no rows": ("a.png", lambda _: claims(5, 0), "E_FORMAT", "damaged"),
    "less pixels than claimed": ("a.png", lambda _: claims(20, 9), "E_TRUNCATED", "ends early"),
    "bomb": ("a.png", lambda _: claims(400_000, 400_000), "E_SIZE", "400000x400000"),
    "signature alone": ("a.png", lambda _: b"\x89PNG\r\n\x1a\n", "E_TRUNCATED", "ends early"),
    "no header": (
        "a.png",
        lambda _: b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
        "E_FORMAT",
        "damaged",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    name, content, code, words = FAULTS[fault]
    path = tmp_path / name
    path.write_bytes(content(tmp_path))
    with pytest.raises(InputError) as caught:
        read_scan(path)
    assert caught.value.code == code and words in str(caught.value)
    assert str(path) in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_size_is_a_matter_of_memory_and_not_of_pillows_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read a large picture's pixels without pillow's warning, or do not touch them at all."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    for kind in ("PNG", "JPEG", "BMP", "TIFF"):
        Image.new("L", (30, 20), 7).save(tmp_path / "a", format=kind)
        with collect_warnings():
            assert read_scan(tmp_path / "a").shape == (30, 20, 1)
    monkeypatch.setattr(volume_module, "available_memory", lambda: 1000)
    for kind in ("PNG", "JPEG", "BMP", "TIFF"):
        Image.new("L", (30, 20), 7).save(tmp_path / "a", format=kind)
        with pytest.raises(InputError, match=r"E_SIZE(.|\n)*cut the picture into tiles"):
            read_scan(tmp_path / "a")
        with pytest.raises(InputError, match="E_SIZE"):
            read_grid(tmp_path / "a")


def test_texts_in_a_picture_do_not_matter(tmp_path: Path) -> None:
    """Read a picture that Pillow refuses for a long text in it."""
    array = RNG.integers(0, 256, (5, 6, 1))
    text = chunk(b"zTXt", b"XML\0\0" + zlib.compress(bytes(3 << 20)))
    (tmp_path / "a.png").write_bytes(png(array, 8, 0, False, extra=text))
    assert np.array_equal(in_rows(read_scan(tmp_path / "a.png")), array[..., 0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("name", ["a.bmp", "a.nii"])
def test_names_that_lie_are_said(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(kind))
    with collect_warnings() as notes:
        assert read_scan(tmp_path / name).meta["picture"] == kind
    assert len(notes) == 1 and f"W_NAME {tmp_path / name}: the content is {kind}" in notes[0]


def test_bytes_behind_the_end_do_not_matter(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG"):
        content = encoded(kind)
        (tmp_path / f"a.{kind.lower()}").write_bytes(content + b"\0 more \xff\xda")
        (tmp_path / f"b.{kind.lower()}").write_bytes(content)
        pair: list[Any] = [read_scan(tmp_path / f"{n}.{kind.lower()}").array for n in "ab"]
        assert np.array_equal(*pair)
