"""A label map as a DICOM Segmentation that refers to the series it was made from."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_semiseg import __version__
from monai_semiseg.errors import ConfigError, UnsupportedError
from monai_semiseg.export.dicom_planes import planes_on
from monai_semiseg.storage.files import write_atomically

Code = Mapping[str, str]
_PATIENT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def write_segmentation(
    mask: NDArray[Any],
    affine: NDArray[np.float64],
    files: Sequence[Path],
    path: Path,
    names: Mapping[int, str],
    codes: Mapping[int, Code] | None = None,
    model: str = "",
) -> Path:
    """Write a label map atomically as DICOM SEG (binary, one segment per label), by highdicom.

    The object carries the patient and study of its source, as the standard wants it: treat it as
    patient data.

    Args:
        mask: class indices ``(column, row, slice)``, as scans are read.
        affine: 4x4, voxel to mm in RAS, of the scan.
        files: the files of the series.
        path: the file to write.
        names: index -> name; 0 is background and no segment.
        codes: index -> ``{value, scheme, meaning}`` of the structure; "Anatomical Structure" for
            labels without one.
        model: what made the mask, such as the weights' hash.

    Raises:
        UnsupportedError: If the source lacks what a SEG has to say about it.
        ConfigError: If a code is not complete.
    """
    sources = [_source(file) for file in files]
    segments = [
        _segment(index, names[index], (codes or {}).get(index), model)
        for index in names
        if index > 0
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # an empty segmentation is written with empty frames, which is right
            segmentation = _segmentation(mask, affine, sources, segments, model)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UnsupportedError(
            f"no DICOM SEG can refer to this series ({_reason(error, sources[0])})",
            expected="a series with patient, study, frame of reference and image positions",
            remedy="use the NIfTI mask",
            path=files[0].parent,
        ) from error
    stream = io.BytesIO()
    segmentation.save_as(stream, enforce_file_format=True)
    return write_atomically(path, stream.getvalue())


def _segmentation(
    mask: NDArray[Any],
    affine: NDArray[np.float64],
    sources: Sequence[pydicom.Dataset],
    segments: Sequence[Any],
    model: str,
) -> pydicom.Dataset:
    """The object, a frame for each slice of the source and each label in it."""
    import highdicom

    segmentation: pydicom.Dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=planes_on(sources, mask.astype(np.uint8), affine),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=int(sources[0].get("SeriesNumber") or 0) % 10_000 + 10_000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="monai_semiseg",
        manufacturer_model_name="monai_semiseg, research use",
        software_versions=__version__,
        device_serial_number=model[:16] or "0",
        series_description="Segmentation, research use only",
        omit_empty_frames=bool(mask.any()),
    )
    return segmentation


def _reason(error: Exception, source: pydicom.Dataset) -> str:
    """What went wrong, in the library's words unless they quote the patient."""
    text = (str(error).strip().splitlines() or [""])[0]
    private = [str(source.get(name) or "") for name in _PATIENT]
    if any(len(value) > 2 and value in text for value in private):
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _source(file: Path) -> pydicom.Dataset:
    """A header with every attribute that may be empty, but must be there; de-identified files leave them out.

    Raises:
        UnsupportedError: If the file does not say which study it belongs to.
    """
    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if not dataset.get(name):
            raise UnsupportedError(
                f"no DICOM SEG can refer to a series without {name}",
                expected=f"a {name}",
                remedy="use the NIfTI mask",
                path=file,
            )
    for name in _PATIENT:
        if name not in dataset:
            setattr(dataset, name, "")
    return dataset


def _segment(number: int, name: str, code: Code | None, model: str) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    kind = codes.SCT.AnatomicalStructure
    if code is not None:
        if missing := {"value", "scheme", "meaning"} - set(code):
            raise ConfigError(
                f"the code of label {name!r} has no {sorted(missing)}",
                expected="value, scheme, meaning",
            )
        kind = highdicom.sr.CodedConcept(code["value"], code["scheme"], code["meaning"])
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="monai_semiseg",
            version=f"{__version__} {model[:16]}".strip(),
            family=codes.DCM.ArtificialIntelligence,
        ),
    )
