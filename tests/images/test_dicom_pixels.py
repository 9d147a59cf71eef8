"""Bits above BitsStored are no values, in any transfer syntax; the modality's values count."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from monai_semiseg.images.dicom_pixels import stored_values
from monai_semiseg.images.scan import read_scan

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]


def encoded(words: np.ndarray[Any, Any], syntax: pydicom.uid.UID) -> bytes:
    """Encode 16-bit words in a transfer syntax, independent of the header."""
    if syntax == JPEGLSLossless:
        import jpeg_ls

        return bytes(jpeg_ls.encode_array(words))
    if syntax == JPEG2000Lossless:
        import io

        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(words).save(stream, format="JPEG2000", irreversible=False, no_jp2=True)
        return stream.getvalue()
    return words.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()


def image(
    words: np.ndarray[Any, Any], syntax: pydicom.uid.UID, *, stored: int, high: int, signed: int
) -> Dataset:
    data = Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.Rows, data.Columns = words.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = 16
    data.BitsStored = stored
    data.HighBit = high
    data.PixelRepresentation = signed
    if syntax == RLELossless:
        frame = pydicom.pixels.get_encoder(RLELossless).encode(
            words.astype("<u2").tobytes(),
            rows=words.shape[0],
            columns=words.shape[1],
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=16,
            bits_stored=16,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
        )
        data.PixelData = encapsulate([frame])
    elif syntax.is_encapsulated:
        data.PixelData = encapsulate([encoded(words, syntax)])
    else:
        data.PixelData = encoded(words, syntax)
    data["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    return data


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 15), (10, 12), (16, 15)])
def test_bits_that_are_no_values_are_masked(
    syntax: pydicom.uid.UID, signed: int, stored: int, high: int
) -> None:
    rng = np.random.default_rng(stored + high)
    low, top = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if signed else (0, 2**stored)
    values = rng.integers(low, top, (16, 17))
    words = (values % 2**stored << (high + 1 - stored)).astype(np.uint16)
    rubbish = np.uint16(~(((1 << stored) - 1) << (high + 1 - stored)) & 0xFFFF)
    words[4:9, 5:11] |= rubbish  # a box in every bit that is not the value's
    data = image(words, syntax, stored=stored, high=high, signed=signed)
    if syntax == ExplicitVRBigEndian:
        data.set_original_encoding(False, False)
    assert np.array_equal(stored_values(data), values)


def of_twelve_bits() -> tuple[np.ndarray[Any, Any], bytes, Dataset]:
    """Return values, their JPEG-LS stream of 12 bits, and an image that claims 16 bits."""
    import jpeg_ls

    values = np.random.default_rng(0).integers(0, 2**12, (16, 17)).astype(np.uint16)
    stream = jpeg_ls.encode_pixel_data(
        values.tobytes(),
        rows=16,
        columns=17,
        samples_per_pixel=1,
        bits_stored=12,
        interleave_mode=0,
        lossy_error=0,
    )
    return values, bytes(stream), image(values, JPEGLSLossless, stored=12, high=15, signed=0)


def test_values_that_a_stream_of_fewer_bits_holds_are_not_shifted_again() -> None:
    values, stream, data = of_twelve_bits()
    data.PixelData = encapsulate([stream])
    assert np.array_equal(stored_values(data), values)


def test_the_bits_of_a_stream_are_found_behind_other_segments() -> None:
    """Put a comment before the frame's header that looks like one of 16 bits."""
    values, stream, data = of_twelve_bits()
    comment = b"\xff\xf7\x00\x0b\x10" * 60
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    data.PixelData = encapsulate([stream[:2] + segment + stream[2:]])
    assert np.array_equal(stored_values(data), values)


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_files_that_name_no_transfer_syntax(implicit: bool, little: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2**12, (16, 17)).astype(np.uint16)
    syntax = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    data = image(values, syntax, stored=12, high=11, signed=0)
    del data.file_meta.TransferSyntaxUID
    data.set_original_encoding(implicit, little)
    assert np.array_equal(stored_values(data), values)


def overlaid(syntax: pydicom.uid.UID) -> Any:
    """Store 12 bits and a box of 0xF000 above them in a transfer syntax."""

    def edit(data: Dataset, k: int = 0) -> None:
        frames = int(data.get("NumberOfFrames", 1))
        words = np.frombuffer(data.PixelData, "<u2").reshape(frames, data.Rows, data.Columns).copy()
        words[:, 1:4, 2:5] |= 0xF000
        data.BitsStored = 12
        data.HighBit = 11
        data.PixelRepresentation = 0
        data.PixelData = words.tobytes()
        if syntax == RLELossless:
            data.BitsStored = 16  # else the encoder takes no such words
            data.HighBit = 15
            data.compress(syntax)
            data.BitsStored = 12
            data.HighBit = 11
        elif syntax == JPEGLSLossless:
            data.PixelData = encapsulate([encoded(frame, syntax) for frame in words])
            data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = syntax

    return edit


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_an_overlay_in_a_series_is_no_part_of_the_scan(
    make: SimpleNamespace, tmp_path: Path, syntax: pydicom.uid.UID
) -> None:
    make.series(tmp_path / "scan", edit=overlaid(syntax))
    make.assert_true(read_scan(tmp_path / "scan"))


def with_both_values(data: Dataset, k: int = 0) -> None:
    """Write a rescale with the scan's values, and a real-world mapping to other values."""
    stored = (np.frombuffer(data.PixelData, "<i2") - 24) / 2
    data.PixelData = np.rint(stored).astype("<i2").tobytes()
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped = -32768
    mapping.RealWorldValueLastValueMapped = 32767
    mapping.RealWorldValueSlope = 0.125
    mapping.RealWorldValueIntercept = 7.0
    mapping.LUTLabel = "mapped"
    mapping.LUTExplanation = "mapped"
    unit = Dataset()
    unit.CodeValue = "1"
    unit.CodingSchemeDesignator = "UCUM"
    unit.CodeMeaning = "no units"
    mapping.MeasurementUnitsCodeSequence = [unit]
    if "SharedFunctionalGroupsSequence" in data:
        shared = data.SharedFunctionalGroupsSequence[0]
        shared.RealWorldValueMappingSequence = [mapping]
        holder = shared.PixelValueTransformationSequence[0]
    else:
        data.RealWorldValueMappingSequence = [mapping]
        holder = data
    holder.RescaleSlope = 2
    holder.RescaleIntercept = 24


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_the_rescale_counts_and_never_a_real_world_mapping(
    make: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    if kind == "classic":
        make.series(tmp_path / "scan", edit=with_both_values)
    else:
        make.enhanced(tmp_path / "scan" / "multi.dcm", edit=with_both_values)
    make.assert_true(read_scan(tmp_path / "scan"), tolerance=1.5)


def test_a_display_window_changes_nothing(make: SimpleNamespace, tmp_path: Path) -> None:
    def window(data: Dataset) -> None:
        voi = Dataset()
        voi.WindowCenter = 2000
        voi.WindowWidth = 10
        data.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence = [voi]

    make.enhanced(tmp_path / "multi.dcm", edit=window)
    make.assert_true(read_scan(tmp_path / "multi.dcm"))


def test_each_frame_has_its_own_rescale(make: SimpleNamespace, tmp_path: Path) -> None:
    def rescaled(data: Dataset) -> None:
        shared = data.SharedFunctionalGroupsSequence[0]
        del shared.PixelValueTransformationSequence
        stored = np.frombuffer(data.PixelData, "<i2").reshape(data.NumberOfFrames, -1).astype(float)
        for k, item in enumerate(data.PerFrameFunctionalGroupsSequence):
            transform = Dataset()
            transform.RescaleSlope = 0.5 + 0.25 * k
            transform.RescaleIntercept = 3
            item.PixelValueTransformationSequence = [transform]
            stored[k] = (stored[k] - 3) / (0.5 + 0.25 * k)
        data.PixelData = np.rint(stored).astype("<i2").tobytes()

    make.enhanced(tmp_path / "multi.dcm", edit=rescaled)
    make.assert_true(read_scan(tmp_path / "multi.dcm"), tolerance=1.5)
