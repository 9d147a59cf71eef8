"""A folder of 2-D images through one network: masks in the kind of file that came in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from monai.inferers import SimpleInferer
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    VLPhotographicImageStorage,
    generate_uid,
)
from torch import nn

from monai_semiseg.errors import ConfigError
from monai_semiseg.export.report import CaseResult
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.inference.runner import BatchRunner
from monai_semiseg.transforms.grids import DropSliceAxisd
from monai_semiseg.transforms.restore import LabelOnScanGridd

RGB = ("red", "green", "blue")
LEVEL = 100.0
Run = Callable[..., list[CaseResult]]


class Bright(nn.Module):
    """Network that labels what is bright in the first channel; class 2 where the second is too."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor([LEVEL]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x[:, :1] - self.level
        second = x[:, -1:] - self.level
        both = torch.minimum(first, second) if x.shape[1] > 1 else torch.full_like(first, -1e3)
        return torch.cat([torch.zeros_like(first), first, 2 * both], 1)


def expected(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Return what :class:`Bright` must label, by numpy alone; channels are last."""
    first = pixels[..., 0].astype(float) - LEVEL
    last = pixels[..., -1].astype(float) - LEVEL
    both = np.minimum(first, last) if pixels.shape[-1] > 1 else first - 1e3
    return np.argmax(np.stack([np.zeros_like(first), first, 2 * both]), axis=0)


def photograph(seed: int, size: tuple[int, int] = (30, 20)) -> NDArray[np.uint8]:
    """Return rows, columns, colours; no value is at the level."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    return np.where(values == LEVEL, 101, values).astype(np.uint8)


def put(folder: Path, pixels: NDArray[np.uint8], name: str) -> None:
    """Write a picture among the inputs of a run."""
    Image.fromarray(pixels).save(folder / "in" / name)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def make(channels: int = 3, **settings: Any) -> list[CaseResult]:
        network = Bright()
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        names = {"in_channels": channels, "channel_names": RGB if channels == 3 else ("grey",)}
        defaults: dict[str, Any] = {
            "network": network,
            "weights": str(tmp_path / "weights.pt"),
            "preprocessing": Compose(
                [
                    LoadImaged("image", reader=ScanReader),
                    EnsureChannelFirstd("image"),
                    Orientationd("image", axcodes="RAS", labels=None),
                    DropSliceAxisd("image", spatial_dims=2),
                ]
            ),
            "inferer": SimpleInferer(),
            "postprocessing": LabelOnScanGridd("pred", uncertainty_key="uncertainty"),
            "inputs": str(tmp_path / "in"),
            "output_dir": str(tmp_path / "out"),
            "label_names": {"0": "background", "3": "lesion", "300": "hair"},
            "label_values": [0, 3, 300],
        }
        runner = BatchRunner(**{**defaults, **names, **settings})
        return [result for result in runner.run() if result.status != "skipped"]

    (tmp_path / "in").mkdir()
    return make


def outputs(folder: Path) -> list[str]:
    kinds = (".html", ".json", ".csv", ".jsonl")
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in kinds]
    return sorted(str(path.relative_to(folder)) for path in found)


@pytest.mark.parametrize("kind", ["png", "tiff", "bmp"])
def test_a_photograph_gives_a_png_of_label_numbers(tmp_path: Path, run: Run, kind: str) -> None:
    pixels = photograph(1)
    put(tmp_path, pixels, f"a.{kind}")
    (result,) = run()
    assert outputs(tmp_path / "out") == ["a_preview.jpg", "a_seg.png", "a_uncertainty.png"]
    mask = np.asarray(Image.open(tmp_path / "out" / "a_seg.png"))
    assert mask.dtype == np.uint16, "a number above 255"
    assert np.array_equal(mask, np.array([0, 3, 300])[expected(pixels)])
    sizes = {name: int((mask == value).sum()) for name, value in (("lesion", 3), ("hair", 300))}
    assert result.area_px == sizes and not result.volumes_ml and not result.area_mm2
    report = (tmp_path / "out" / "report.csv").read_text()
    assert "mL" not in report and "_ml" not in report
    (row,) = csv.DictReader(report.splitlines())
    assert row["lesion_area_px"] == str(sizes["lesion"])
    red = pixels[..., 0][mask == 3].mean()
    assert float(row["lesion_mean_intensity_red"]) == pytest.approx(red, abs=1e-3)
    assert "patient's right" not in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_the_mask_of_a_turned_photograph_is_turned_alike(
    tmp_path: Path, run: Run, orientation: int
) -> None:
    """Check that the mask has the rows of the file and its EXIF.

    The network saw what a viewer shows.
    """
    picture = Image.fromarray(photograph(2))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "in" / "a.png", exif=exif)
    run()
    mask = Image.open(tmp_path / "out" / "a_seg.png")
    numbers = np.array([0, 3, 300])
    assert np.array_equal(np.asarray(mask), numbers[expected(photograph(2))])
    shown = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(mask)), numbers[expected(shown)])


def radiograph(path: Path, pixels: NDArray[Any], **tags: Any) -> Path:
    """Write a single image of DICOM, grey or in colour, without a position in the patient."""
    colour = pixels.ndim == 3
    kind = VLPhotographicImageStorage if colour else ComputedRadiographyImageStorage
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = kind
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.SeriesInstanceUID, d.StudyInstanceUID = generate_uid(), generate_uid()
    d.Modality = "XC" if colour else "CR"
    d.Rows, d.Columns = pixels.shape[:2]
    d.SamplesPerPixel = 3 if colour else 1
    d.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        d.PlanarConfiguration = 0
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation = 7, 0
    d.PixelData = pixels.astype(np.uint8).tobytes()
    for name, value in tags.items():
        setattr(d, name, value)
    d.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("kinds", ["native", "nifti", ["native", "dicom_seg"]], ids=str)
def test_a_single_image_of_dicom(tmp_path: Path, run: Run, colour: bool, kinds: Any) -> None:
    pixels = photograph(3) if colour else photograph(3)[..., 0]
    radiograph(tmp_path / "in" / "a.dcm", pixels, PixelSpacing=[0.5, 0.25])
    (result,) = run(3 if colour else 1, output_type=kinds, preview=False)
    classes = expected(pixels if colour else pixels[..., None])
    written = tmp_path / "out" / result.output
    if kinds == "nifti":
        mask = np.asanyarray(nib.load(written).dataobj)[:, :, 0].T
    else:
        mask = np.asarray(Image.open(written))
    assert np.array_equal(mask, np.array([0, 3, 300])[classes])
    assert result.area_mm2["lesion"] == pytest.approx((classes == 1).sum() * 0.125)
    assert result.is_picture
    if "dicom_seg" in kinds:
        found = pydicom.dcmread(written.with_suffix(".dcm"))
        assert [segment.SegmentLabel for segment in found.SegmentSequence] == ["lesion", "hair"]
        frames = found.pixel_array.reshape(-1, *pixels.shape[:2])
        assert frames.sum() == (classes > 0).sum()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)], ids=str)
def test_nifti_of_one_slice_keeps_its_axes(
    tmp_path: Path, run: Run, shape: tuple[int, ...]
) -> None:
    pixels = photograph(4)[..., 0].reshape(shape)
    affine = np.diag([-0.5, 2.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(pixels, affine), tmp_path / "in" / "a.nii.gz")
    (result,) = run(1)
    mask = nib.load(tmp_path / "out" / "a_seg.nii.gz")
    assert mask.shape == shape and np.allclose(mask.affine, affine)
    assert tuple(mask.header["dim"][: len(shape) + 1]) == (len(shape), *shape)
    assert np.array_equal(np.asanyarray(mask.dataobj) == 3, pixels > LEVEL)
    assert result.area_mm2["lesion"] == pytest.approx((pixels > LEVEL).sum() * 1.0)
    assert not result.is_picture
    assert Image.open(tmp_path / "out" / "a_preview.png").size[0] == 656


def test_seg_nrrd_for_all_but_pictures_without_a_pixel_size(tmp_path: Path, run: Run) -> None:
    grey = photograph(5)[..., 0]
    image = sitk.GetImageFromArray(grey[None])
    image.SetSpacing((0.5, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "in" / "scan.nrrd"))
    put(tmp_path, grey, "photo.png")
    results = {Path(result.input).stem: result for result in run(1, output_type="seg_nrrd")}
    assert results["scan"].output == "scan.seg.nrrd"
    mask = sitk.ReadImage(str(tmp_path / "out" / "scan.seg.nrrd"))
    assert mask.GetSpacing() == (0.5, 2.0, 3.0)
    assert np.array_equal(sitk.GetArrayFromImage(mask)[0] == 3, grey > LEVEL)
    assert mask.GetMetaData("Segment1_LabelValue") == "300"
    assert results["photo"].output == "photo_seg.png"
    assert "no .seg.nrrd: the image has no pixel size" in results["photo"].reason


def test_other_channels_fail_alone_and_by_name(tmp_path: Path, run: Run) -> None:
    put(tmp_path, photograph(6), "colour.png")
    put(tmp_path, photograph(6)[..., 0], "grey.png")
    results = {Path(result.input).stem: result for result in run(3)}
    assert results["colour"].status == "done"
    assert (results["grey"].status, results["grey"].code) == ("failed", "E_CHANNELS")
    assert "1 channel;" in results["grey"].reason
    assert "3 channels (red, green, blue)" in results["grey"].reason


def test_transforms_for_other_channels_do_not_hide_the_reason(tmp_path: Path, run: Run) -> None:
    put(tmp_path, photograph(6), "colour.png")

    def broken(_: Any) -> Any:
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (1)")

    steps = [LoadImaged("image", reader=ScanReader), broken]
    (result,) = run(1, preprocessing=Compose(steps))
    assert result.code == "E_CHANNELS" and "expected: 1 channel (grey)" in result.reason


def test_photographs_of_other_sizes_are_flagged_in_pixels(tmp_path: Path, run: Run) -> None:
    for name, size in (("usual", (30, 20)), ("large", (90, 20))):
        put(tmp_path, photograph(7, size), f"{name}.png")
    training = {
        "unit": "px",
        "extent": [[28.0, 18.0], [32.0, 22.0]],
        "spacing": [[1.0, 1.0], [1.0, 1.0]],
        "area": {"lesion": [1.0, 600.0], "hair": [1.0, 5.0]},
    }
    results = {Path(r.input).stem: r for r in run(3, training_scans=training)}
    assert results["usual"].flags == ["label_volume"]
    assert "px, the training labels' 1-5 px" in results["usual"].reason
    assert "field_of_view" in results["large"].flags
    assert "field of view 90 x 20 px, theirs 28-32 x 18-22 px" in results["large"].reason


def test_an_earlier_mask_of_any_kind_is_refused_and_replaced(tmp_path: Path, run: Run) -> None:
    put(tmp_path, photograph(8), "a.png")
    (tmp_path / "out").mkdir()
    for name in ("a_seg.png", "a_seg.nii.gz", "a.seg.nrrd", "a_seg.dcm"):
        (tmp_path / "out" / name).write_text("old")
        with pytest.raises(ConfigError, match="exists"):
            run()
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / "a_seg.nii.gz").write_text("old")
    run(overwrite=True)
    assert outputs(tmp_path / "out") == ["a_preview.jpg", "a_seg.png", "a_uncertainty.png"]
    written = (tmp_path / "out" / "a_seg.png").stat().st_mtime_ns
    run()
    assert (tmp_path / "out" / "a_seg.png").stat().st_mtime_ns == written, "resumed"
    (case,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    assert case["output"] == "a_seg.png" and set(case["area_px"]) == {"lesion", "hair"}


@pytest.mark.parametrize("wanted", ["alpha", ["red", "green"]])
def test_preview_channels_that_the_images_do_not_have(run: Run, wanted: Any) -> None:
    with pytest.raises(ConfigError, match="preview_channels"):
        run(preview_channels=wanted)
