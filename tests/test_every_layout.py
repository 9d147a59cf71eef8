"""Every layout of a data set, from check to evaluate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from monai_semiseg.cli.main import main
from monai_semiseg.images.scan import read_scan
from tests import layout_builders
from tests.image_kinds import (
    CHANNELS_3D,
    CONTRASTS,
    FLAGGED,
    GREY_3D,
    NETWORK,
    RGB_2D,
    Kind,
    as_pixels,
    check_masks,
    check_network,
    check_scores,
    contrasts,
    describe,
    noisy,
    photographs,
    prepare,
    scans,
    squares,
    train,
    write_nifti,
    write_picture,
)

OK = (0, FLAGGED)
Build = Callable[[Path, SimpleNamespace], Path]


def suffix_pairs(root: Path, _: SimpleNamespace) -> Path:
    """Return JPEG photographs and their masks in one folder, as of dermoscopy."""
    for number in range(3):
        label = squares(number, (40, 32))
        pixels = as_pixels(*(noisy(label, channel, number) for channel in range(3)))
        write_picture(root / f"p{number}.jpg", pixels)
        write_picture(root / f"p{number}_segmentation.png", label)
    return root


def nnunet_pictures(root: Path, _: SimpleNamespace) -> Path:
    """Return grey pictures, a file each channel."""
    for number in range(3):
        label = squares(number, (40, 32))
        for channel in range(2):
            file = root / "imagesTr" / f"p{number}_{channel:04}.png"
            write_picture(file, as_pixels(noisy(label, channel, number)))
        write_picture(root / "labelsTr" / f"p{number}.png", label)
    names = {"0": "white", "1": "blue"}
    describe(root, channel_names=names, numTraining=3, file_ending=".png")
    return root


def nnunet_v1(root: Path, _: SimpleNamespace) -> Path:
    """Return files with the number of their channel, which dataset.json leaves out."""
    contrasts(root)
    cases = [f"p{number}.nii.gz" for number in range(6)]
    pairs = [{"image": f"./imagesTr/{case}", "label": f"./labelsTr/{case}"} for case in cases]
    names = {str(number): name for number, name in enumerate(CONTRASTS)}
    labels = {"0": "background", "1": "disc", "3": "cup"}
    describe(root, modality=names, labels=labels, training=pairs, numTraining=6)
    return root


def dicom(root: Path, make: SimpleNamespace, slices: int = 8) -> Path:
    """Return studies of two series; the labels are NIfTI files beside them."""
    for number in range(3):
        for name in ("T1", "FLAIR"):

            def edit(image: Any, _: int, name: str = name, number: int = number) -> None:
                image.StudyInstanceUID = f"1.2.3.{number}"
                image.PatientID = f"p{number}"
                image.SeriesDescription = f"ax {name}"

            make.series(root / f"p{number}" / name, count=slices, size=(20, 24), edit=edit)
        scan = read_scan(root / f"p{number}" / "T1")
        label = squares(number, scan.shape)
        write_nifti(root / f"p{number}" / "T1.nii.gz", label, scan.affine)
    return root


def single_dicom(root: Path, make: SimpleNamespace) -> Path:
    """Return one DICOM image a case."""
    dicom(root, make, slices=1)
    for study in root.iterdir():
        shutil.rmtree(study / "FLAIR")
    return root


def tiff_stacks(root: Path, _: SimpleNamespace) -> Path:
    """Return TIFF files whose pages are slices, in images and in labels."""
    for number in range(3):
        label = squares(number, (18, 20, 16))
        pages = as_pixels(noisy(label, 0, number))
        for folder, array in (("images", pages), ("labels", label)):
            file = root / folder / f"p{number}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(file, array.transpose(2, 1, 0), photometric="minisblack")
    return root


def made(build: Callable[[Path], Any]) -> Build:
    """Return a builder that needs no DICOM."""
    return lambda root, _: Path(build(root) or root)


@dataclass(frozen=True)
class Layout:
    """A layout: its builder, what its images are, and what has to be said about it."""

    build: Build
    kind: Kind
    options: tuple[str, ...] = ()


FOUR = Kind(3, layout_builders.NAMES, "mm", (4, 4, 4))
LAYOUTS = {
    **{build.__name__: Layout(made(build), FOUR) for build in layout_builders.LAYOUTS},
    "two_folders": Layout(made(photographs), RGB_2D),
    "two_folders_of_scans": Layout(made(scans), GREY_3D),
    "suffix_pairs": Layout(suffix_pairs, RGB_2D),
    "nnunet_pictures": Layout(nnunet_pictures, Kind(2, ("white", "blue"), "px", (40, 32), ".png")),
    "tiff_stacks": Layout(tiff_stacks, Kind(3, ("image",), "px", (18, 20, 16)), ("--stack_pages",)),
    "nnunet_v1": Layout(nnunet_v1, CHANNELS_3D),
    "dicom_studies": Layout(
        dicom, Kind(3, ("FLAIR", "T1"), "mm", (24, 20, 8)), ("--channels", "FLAIR,T1=^ax T1")
    ),
    "single_dicom": Layout(single_dicom, Kind(2, ("image",), "mm", (20, 24), ".png")),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout(name: str, make: SimpleNamespace, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    root = layout.build(tmp_path / "data", make)
    data = prepare(layout.kind, root, tmp_path, *layout.options, labelled=2)
    weights = train(data, tmp_path / "run", "train", settings=(NETWORK,))
    check_network(data, weights)
    check_masks(data, weights, tmp_path / "masks")
    check_scores(data, weights, tmp_path / "scores")


def test_each_frame_of_a_cine_is_an_image(make: SimpleNamespace, tmp_path: Path) -> None:
    """Check that the mask of a frame is that of the same pixels in a file of their own."""
    root = single_dicom(tmp_path / "data", make)
    kind = LAYOUTS["single_dicom"].kind
    weights = train(
        prepare(kind, root, tmp_path, labelled=2), tmp_path / "run", "train", settings=(NETWORK,)
    )
    frames = [noisy(squares(n, (24, 20)), 0, n).astype("<u2").tobytes() for n in range(3)]

    def ultrasound(pixels: list[bytes]) -> Callable[[Any, int], None]:
        def edit(image: Any, _: int) -> None:
            single, several = UltrasoundImageStorage, UltrasoundMultiFrameImageStorage
            image.SOPClassUID = single if len(pixels) == 1 else several
            del image.ImagePositionPatient, image.ImageOrientationPatient
            if len(pixels) > 1:
                image.NumberOfFrames = len(pixels)
            image.PixelData = b"".join(pixels)

        return edit

    cine = tmp_path / "cine"
    make.series(cine, count=1, size=(24, 20), edit=ultrasound(frames), name="clip.dcm")
    for number, frame in enumerate(frames):
        single = tmp_path / "single" / f"{number}"
        make.series(single, count=1, size=(24, 20), edit=ultrasound([frame]), name="one.dcm")
    asked = ["--weights", str(weights), "--device", "cpu", "--no_preview"]
    assert main(["predict", str(cine), *asked, "--output", str(tmp_path / "none")]) == 3
    masks = tmp_path / "masks"
    assert main(["predict", str(cine), *asked, "--frames", "each", "--output", str(masks)]) in OK
    alone = tmp_path / "alone"
    assert main(["predict", str(tmp_path / "single"), *asked, "--output", str(alone)]) in OK
    found = sorted(masks.rglob("*_seg.png"))
    assert [file.name for file in found] == [f"frame_{n:04}_seg.png" for n in (1, 2, 3)]
    for file, other in zip(found, sorted(alone.rglob("*_seg.png")), strict=True):
        assert np.array_equal(Image.open(file), Image.open(other))
