"""Every kind of DICOM folder that breaks common readers is read right, or refused with a reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import InputError
from monai_semiseg.images.scan import read_scan
from tests.scan_builders import built_cases

OBLIQUE = (0.9396926, 0.3420201, 0.0, -0.2962, 0.8138, 0.5)
Build = Callable[[SimpleNamespace, Path], Any]


def oblique() -> tuple[float, ...]:
    across = np.array(OBLIQUE[:3]) / np.linalg.norm(OBLIQUE[:3])
    down = np.array(OBLIQUE[3:]) - across * (across @ np.array(OBLIQUE[3:]))
    return (*across, *(down / np.linalg.norm(down)))


def edited(**tags: Any) -> Callable[[Dataset, int], None]:
    """Set tags in every slice; a callable gets the slice's number, None removes the tag."""

    def edit(data: Dataset, k: int) -> None:
        for name, value in tags.items():
            if value is None:
                del data[name]
            else:
                setattr(data, name, value(k) if callable(value) else value)

    return edit


def rescaled(slope: Callable[[int], float]) -> Callable[[Dataset, int], None]:
    def edit(data: Dataset, k: int) -> None:
        stored = np.frombuffer(data.PixelData, "<i2") / slope(k)
        data.PixelData = np.rint(stored).astype("<i2").tobytes()
        data.RescaleSlope = slope(k)

    return edit


LOCALIZER = edited(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesNumber=0)


def with_localizer(
    make: SimpleNamespace, folder: Path, name: str, same_series: bool = False
) -> None:
    uid = generate_uid()
    make.series(folder, uid=uid)
    make.series(
        folder,
        count=1,
        size=(9, 9),
        uid=uid if same_series else "",
        name=name,
        edit=LOCALIZER,
        orientation=(0, 1, 0, 0, 0, -1),
    )


def nested(make: SimpleNamespace, folder: Path) -> None:
    files = make.series(folder / "all")
    for number, file in enumerate(files):
        (folder / f"part{number % 2}").mkdir(exist_ok=True)
        file.rename(folder / f"part{number % 2}" / file.name)
    (folder / "all").rmdir()


def copied(make: SimpleNamespace, folder: Path) -> None:
    for file in make.series(folder):
        shutil.copy(file, file.with_name(f"copy_{file.name}"))


def without_preamble(make: SimpleNamespace, folder: Path) -> None:
    for file in make.series(folder):
        file.write_bytes(file.read_bytes()[132:])


def without_meta(make: SimpleNamespace, folder: Path) -> None:
    """Remove the preamble and meta header, as in old archives."""
    for file in make.series(folder):
        data = pydicom.dcmread(file)
        del data.file_meta
        pydicom.dcmwrite(file, data, implicit_vr=True, little_endian=True)


def transferred(syntax: pydicom.uid.UID) -> Build:
    """Write a series in another transfer syntax."""

    def build(make: SimpleNamespace, folder: Path) -> None:
        for file in make.series(folder):
            data = pydicom.dcmread(file)
            if syntax == pydicom.uid.RLELossless:
                data.compress(syntax)
            elif syntax == pydicom.uid.ExplicitVRBigEndian:
                data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
            data.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(
                file, data, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
            )

    return build


def unsigned(data: Dataset, k: int) -> None:
    """Store values above 32767, which a signed reading would turn negative."""
    data.PixelData = (
        (np.frombuffer(data.PixelData, "<i2").astype("<i4") + 40000).astype("<u2").tobytes()
    )
    data.PixelRepresentation = 0
    data.RescaleIntercept = -40000


def stray(make: SimpleNamespace, folder: Path) -> None:
    make.series(folder)
    (folder / "notes.txt").write_text("hello")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)


READ: dict[str, tuple[Build, int]] = {  # kind -> builder, number of volumes
    "axial, shuffled names": (lambda make, f: make.series(f), 1),
    "reversed InstanceNumber": (
        lambda make, f: make.series(f, edit=edited(InstanceNumber=lambda k: 8 - k)),
        1,
    ),
    "oblique": (lambda make, f: make.series(f, orientation=oblique()), 1),
    "sagittal": (lambda make, f: make.series(f, orientation=(0, 1, 0, 0, 0, -1)), 1),
    "coronal": (lambda make, f: make.series(f, orientation=(1, 0, 0, 0, 0, -1)), 1),
    "two series": (
        lambda make, f: (make.series(f), make.series(f, name="B{}", origin=(0, 0, 3))),
        2,
    ),
    "localizer of another size": (lambda make, f: with_localizer(make, f, "Z{}.dcm"), 1),
    "localizer sorts first": (lambda make, f: with_localizer(make, f, "A{}.dcm"), 1),
    "localizer within the series": (
        lambda make, f: with_localizer(make, f, "A{}.dcm", same_series=True),
        1,
    ),
    "structured report": (lambda make, f: (make.series(f), make.no_image(f / "sr.dcm")), 1),
    "segmentation object": (
        lambda make, f: (make.series(f), make.no_image(f / "seg.dcm", "SEG")),
        1,
    ),
    "PDF": (lambda make, f: (make.series(f), make.no_image(f / "pdf.dcm", "DOC")), 1),
    "rescale slope 2.5": (lambda make, f: make.series(f, edit=rescaled(lambda k: 2.5)), 1),
    "slope per slice": (lambda make, f: make.series(f, edit=rescaled(lambda k: 0.5 + 0.25 * k)), 1),
    "stray text and false DICOMDIR": (stray, 1),
    "no extension": (lambda make, f: make.series(f, name="IM{}"), 1),
    "upper-case extension": (lambda make, f: make.series(f, name="IM{}.DCM"), 1),
    "nested sub-folders": (nested, 1),
    "no InstanceNumber": (lambda make, f: make.series(f, edit=edited(InstanceNumber=None)), 1),
    "constant InstanceNumber": (lambda make, f: make.series(f, edit=edited(InstanceNumber=1)), 1),
    "duplicate files": (copied, 1),
    "two echoes": (
        lambda make, f: [
            make.series(
                f, uid="1.2.3", name=f"E{e}_{{}}", edit=edited(EchoNumbers=e, EchoTime=10 * e)
            )
            for e in (1, 2)
        ],
        2,
    ),
    "two time points": (
        lambda make, f: [
            make.series(
                f, uid="1.2.3", name=f"T{t}_{{}}", edit=edited(TemporalPositionIdentifier=t)
            )
            for t in (1, 2)
        ],
        2,
    ),
    "SliceThickness in the 4th decimal": (
        lambda make, f: make.series(f, edit=edited(SliceThickness=lambda k: 2 + 1e-4 * (k % 3))),
        1,
    ),
    "single slice": (lambda make, f: make.series(f, count=1), 1),
    "enhanced multi-frame": (lambda make, f: make.enhanced(f / "multi.dcm"), 1),
    "enhanced multi-frame, oblique": (
        lambda make, f: make.enhanced(f / "multi.dcm", orientation=oblique()),
        1,
    ),
    "no SeriesDate": (lambda make, f: make.series(f, edit=edited(SeriesDate=None)), 1),
    "no preamble": (without_preamble, 1),
    "no file meta information": (without_meta, 1),
    "implicit little endian": (transferred(pydicom.uid.ImplicitVRLittleEndian), 1),
    "explicit big endian": (transferred(pydicom.uid.ExplicitVRBigEndian), 1),
    "deflated": (transferred(pydicom.uid.DeflatedExplicitVRLittleEndian), 1),
    "RLE": (transferred(pydicom.uid.RLELossless), 1),
    "unsigned voxels": (lambda make, f: make.series(f, edit=unsigned), 1),
    "MONOCHROME1": (
        lambda make, f: make.series(f, edit=edited(PhotometricInterpretation="MONOCHROME1")),
        1,
    ),
    "a slice missing at the end": (lambda make, f: make.series(f, skip=[7]), 1),
}


@pytest.mark.parametrize("kind", READ)
def test_read_right(make: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    for case in built_cases(READ[kind], make, tmp_path / "scans"):
        volume = read_case(case)
        tolerance = 1.5 if "slope" in kind else 0.51  # stored values are rounded, then multiplied
        make.assert_true(volume, tolerance=tolerance)
        if "multi" not in kind:
            assert len(case.files) == volume.array.shape[2]


def cut(make: SimpleNamespace, folder: Path, keep: int | float) -> None:
    file = make.series(folder)[3]
    content = file.read_bytes()
    file.write_bytes(content[: keep if keep > 1 else int(len(content) * keep)])


def same_uid_other_content(make: SimpleNamespace, folder: Path) -> None:
    files = make.series(folder)
    one = pydicom.dcmread(files[0])
    other = pydicom.dcmread(files[1])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    other.save_as(files[1])


def unknown_compression(make: SimpleNamespace, folder: Path) -> None:
    for file in make.series(folder):
        data = pydicom.dcmread(file)
        data.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(30)])
        data["PixelData"].VR = "OB"
        data.save_as(file)


REFUSED: dict[str, tuple[Build, str, str]] = {  # kind -> builder, code, words of the reason
    "missing slice": (lambda make, f: make.series(f, skip=[4]), "E_GAP", "4.00 mm after the slice"),
    "gantry tilt": (
        lambda make, f: make.series(f, step=(0, 0.5, 2.0)),
        "E_GEOMETRY",
        "14.0 degrees",
    ),
    "slices shifted": (
        lambda make, f: make.series(
            f,
            edit=lambda data, k: data.ImagePositionPatient.__setitem__(
                0, float(data.ImagePositionPatient[0]) + (k == 3)
            ),
        ),
        "E_GEOMETRY",
        "shifted",
    ),
    "duplicate position": (
        lambda make, f: (
            make.series(f, uid="1.2.3"),
            make.series(f, uid="1.2.3", count=1, origin=(-10, 4, 36), name="X{}"),
        ),
        "E_DUPLICATE",
        "same position",
    ),
    "same SOPInstanceUID, other content": (
        same_uid_other_content,
        "E_DUPLICATE",
        "same SOPInstanceUID",
    ),
    "no position": (
        lambda make, f: make.series(f, edit=edited(ImagePositionPatient=None)),
        "E_GEOMETRY",
        "ImagePositionPatient",
    ),
    "no orientation": (
        lambda make, f: make.series(f, edit=edited(ImageOrientationPatient=None)),
        "E_GEOMETRY",
        "ImageOrientationPatient",
    ),
    "orientation not at a right angle": (
        lambda make, f: make.series(f, edit=edited(ImageOrientationPatient=[1, 0, 0, 0.5, 0.8, 0])),
        "E_GEOMETRY",
        "right angle",
    ),
    "mixed Rows": (
        lambda make, f: (
            make.series(f, uid="1.2.3"),
            make.series(f, uid="1.2.3", count=2, size=(5, 7), origin=(-10, 4, 46), name="X{}"),
        ),
        "E_MIXED",
        "Rows x Columns",
    ),
    "mixed orientation": (
        lambda make, f: (
            make.series(f, uid="1.2.3"),
            make.series(
                f,
                uid="1.2.3",
                count=2,
                orientation=(0, 1, 0, 0, 0, -1),
                origin=(9, 9, 9),
                name="X{}",
            ),
        ),
        "E_MIXED",
        "Orientation",
    ),
    "mixed PixelSpacing": (
        lambda make, f: make.series(
            f, edit=edited(PixelSpacing=lambda k: [1.5 + 0.1 * (k == 5), 1.25])
        ),
        "E_MIXED",
        "PixelSpacing",
    ),
    "cut at the preamble": (lambda make, f: cut(make, f, 140), "E_DICOM", "header"),
    "cut within the class": (lambda make, f: cut(make, f, 400), "E_DICOM", "header"),
    "cut before the series": (lambda make, f: cut(make, f, 600), "E_DICOM", "header"),
    "cut before the size": (lambda make, f: cut(make, f, 800), "E_DICOM", "header"),
    "cut within the pixels": (lambda make, f: cut(make, f, 0.98), "E_TRUNCATED", "pixel data"),
    "a codec that is not there": (unknown_compression, "E_CODEC", "pip install pylibjpeg"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_a_reason(make: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    build, code, words = REFUSED[kind]
    build(make, tmp_path / "scans")
    found = find_cases(tmp_path / "scans", progress=False)
    assert len(found.cases) == 1
    with pytest.raises(InputError) as caught:
        read_case(found.cases[0])
    text = str(caught.value)
    assert caught.value.code == code
    assert words in text and str(tmp_path) in text
    assert "expected" in text and len(text.splitlines()) <= 4


def test_a_folder_of_two_series_is_not_guessed_at(make: SimpleNamespace, tmp_path: Path) -> None:
    make.series(tmp_path / "scans")
    make.series(tmp_path / "scans", name="B{}")
    with pytest.raises(InputError, match="2 DICOM series in one folder"):
        read_scan(tmp_path / "scans")


def test_list_of_slice_files(make: SimpleNamespace, tmp_path: Path) -> None:
    make.assert_true(read_scan(make.series(tmp_path / "scans")[::-1]))


def test_the_end_of_a_series_cannot_be_known(make: SimpleNamespace, tmp_path: Path) -> None:
    """Read it: without its last slice, a series is a complete, shorter stack."""
    make.series(tmp_path / "scans", skip=[7])
    assert len(find_cases(tmp_path / "scans", progress=False).cases[0].files) == 7


def test_patient_tags_do_not_reach_ids_or_reasons(make: SimpleNamespace, tmp_path: Path) -> None:
    make.series(
        tmp_path / "scans",
        skip=[4],
        edit=edited(
            PatientName="CANARY^NAME", PatientID="CANARY/../:\n7", SeriesDescription="CANARY"
        ),
    )
    case = find_cases(tmp_path / "scans", progress=False).cases[0]
    with pytest.raises(InputError) as caught:
        read_case(case)
    assert "CANARY" not in case.id + str(caught.value)
