"""Label map as a DICOM Segmentation that refers to the series it was made from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_semiseg import __version__
from monai_semiseg.datasets.label_values import background_of, class_lookup, mask_dtype, shortened
from monai_semiseg.errors import ConfigError, UnsupportedError
from monai_semiseg.export.anatomy_codes import StructureCode, structure_code
from monai_semiseg.export.dicom_planes import planes_on
from monai_semiseg.export.palette import class_colours
from monai_semiseg.images.dicom_header import values_unquoted
from monai_semiseg.storage.files import write_atomically

Code = Mapping[str, str]
_POSITION = (
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
)
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
    flags: Sequence[str] = (),
) -> Path:
    """Write a label map atomically as DICOM SEG (binary, one segment per label), by highdicom.

    The object holds the patient and study of its source, as the standard requires: treat it as
    patient data. One frame without a position in the patient, such as a radiograph, an ultrasound
    image or a photograph, gets a segmentation that has none either.

    Args:
        mask: label numbers ``(column, row, slice)``, as scans are read; all of them have names.
        affine: 4x4, voxel to mm in RAS, of the scan.
        files: the files of the series; those of other channels behind them are left out.
        path: the file to write.
        names: number -> name; the background is no segment. Segments are numbered in ascending
            order from 1, and their description holds the label's own number.
        codes: number -> ``{value, scheme, meaning}`` of the structure; for labels without one, what
            :func:`~monai_semiseg.export.anatomy_codes.structure_code` finds for their names, or
            "Anatomical Structure".
        model: name of the model, such as the weights' hash.
        flags: reasons to check the mask; part of the descriptions of series and content.

    Raises:
        UnsupportedError: If the source lacks attributes that a SEG must have.
        ConfigError: If a code is not complete.
    """
    sources = [_source(file, mask.shape[2] > 1) for file in files]
    series = sources[0].SeriesInstanceUID  # the mask is on the grid of the first channel
    sources = [source for source in sources if source.SeriesInstanceUID == series]
    values = sorted({background_of(names), *names})
    colours = class_colours(values[1:])
    segments = [
        _segment(number, value, names[value], (codes or {}).get(value), model, colours[value])
        for number, value in enumerate(values)
        if number > 0
    ]
    mask = _as_segment_numbers(mask, values, files[0].parent)
    try:
        with values_unquoted():
            segmentation = _segmentation(mask, affine, sources, segments, model, flags)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UnsupportedError(
            f"no DICOM SEG can refer to this series ({_reason(error, sources[0])})",
            expected="a series with patient, study, frame of reference and image positions",
            remedy="use the NIfTI or PNG mask",
            path=files[0].parent,
        ) from error
    stream = io.BytesIO()
    segmentation.save_as(stream, enforce_file_format=True)
    return write_atomically(path, stream.getvalue())


def _as_segment_numbers(mask: NDArray[Any], values: Sequence[int], path: Path) -> NDArray[Any]:
    """Return the mask with segments numbered 1, 2, 3, ..., as the standard requires.

    Raises:
        UnsupportedError: If a label of the mask has no name.
    """
    nameless = sorted(set(np.unique(mask).tolist()) - set(values))
    if nameless:
        raise UnsupportedError(
            f"the mask holds labels without a name: {shortened(nameless)}",
            expected=f"the labels {shortened(values)}",
            path=path,
        )
    return class_lookup(values)[mask.astype(np.int64)]


def _segmentation(
    mask: NDArray[Any],
    affine: NDArray[np.float64],
    sources: Sequence[pydicom.Dataset],
    segments: Sequence[Any],
    model: str,
    flags: Sequence[str],
) -> pydicom.Dataset:
    """Return the object, with a frame for each slice of the source and each label in it."""
    import highdicom

    small = mask.astype(mask_dtype([0, len(segments)]))
    flat = mask.shape[2] == 1 and not _positioned(sources)
    planes = _frame_of(sources, small) if flat else planes_on(sources, small, affine)
    segmentation: pydicom.Dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=planes,
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
        series_description=_description(flags),
        content_description=_description(flags),
        content_creator_name="monai_semiseg^",  # a name of one part
        omit_empty_frames=bool(mask.any()),
    )
    (shared,) = segmentation.SharedFunctionalGroupsSequence
    if "PixelMeasuresSequence" in shared and not shared.PixelMeasuresSequence[0]:
        del shared.PixelMeasuresSequence  # nobody knows the size of a pixel
    return segmentation


def _positioned(sources: Sequence[pydicom.Dataset]) -> bool:
    """Return True if a frame's position in the patient is known, as it is for slices of a scan."""
    first = sources[0]
    return "PerFrameFunctionalGroupsSequence" in first or all(map(first.get, _POSITION))


def _frame_of(sources: Sequence[pydicom.Dataset], mask: NDArray[Any]) -> NDArray[Any]:
    """Return the mask as the one frame ``(1, row, column)`` of a source without a position.

    Raises:
        UnsupportedError: If the source has more frames.
    """
    (source,) = sources
    frames = int(source.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnsupportedError(
            f"no DICOM SEG can refer to one of {frames} frames without positions",
            expected="an image of one frame",
            remedy="use the NIfTI or PNG mask",
            path=getattr(source, "filename", None),
        )
    # highdicom asks for both where there may be several frames.
    source.NumberOfFrames = 1
    if "SharedFunctionalGroupsSequence" not in source:
        shared = pydicom.Dataset()
        shared.PixelMeasuresSequence = [_pixel_measures(source)]
        source.SharedFunctionalGroupsSequence = [shared]
    if "FrameOfReferenceUID" in source:
        del source.FrameOfReferenceUID  # a position in it would have to follow
    return np.ascontiguousarray(mask.transpose(2, 1, 0))


def _pixel_measures(source: pydicom.Dataset) -> pydicom.Dataset:
    """Return the size of a pixel in DICOM's form; empty if it is not known."""
    measures = pydicom.Dataset()
    if spacing := source.get("PixelSpacing") or source.get("ImagerPixelSpacing"):
        measures.PixelSpacing = list(spacing)
    return measures


def _description(flags: Sequence[str]) -> str:
    """Return the description of the series, in the 64 characters that DICOM allows."""
    if not flags:
        return "Segmentation, research use only"
    text = f"flagged: {', '.join(flags)}"
    longer = f"{text}; research use only"
    return longer if len(longer) <= 64 else text[:64]


def _reason(error: Exception, source: pydicom.Dataset) -> str:
    """Return an error's kind and text; without the text if it quotes the patient."""
    text = (str(error).strip().splitlines() or [""])[0]
    private = [str(source.get(name) or "") for name in _PATIENT]
    if any(len(value) > 2 and value in text for value in private):
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _source(file: Path, is_slice: bool) -> pydicom.Dataset:
    """Read a header; attributes that may be empty but must exist are added if they are missing.

    De-identified files often lack them.

    Raises:
        UnsupportedError: If the file has no UID of its study or series, or is a slice of several
            and has none of its frame of reference.
    """
    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    needed = ["StudyInstanceUID", "SeriesInstanceUID"]
    if is_slice:
        needed.append("FrameOfReferenceUID")
    for name in needed:
        if not dataset.get(name):
            raise UnsupportedError(
                f"no DICOM SEG can refer to a series without {name}",
                expected=f"a {name}",
                remedy="use the NIfTI or PNG mask",
                path=file,
            )
    for name in _PATIENT:
        if name not in dataset:
            setattr(dataset, name, "")
    return dataset


def _segment(
    number: int, value: int, name: str, code: Code | None, model: str, colour: Sequence[int]
) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    known = structure_code(name) or StructureCode(
        codes.SCT.AnatomicalStructure, codes.SCT.AnatomicalStructure
    )
    if code is not None:
        if missing := {"value", "scheme", "meaning"} - set(code):
            raise ConfigError(
                f"the code of label {name!r} has no {sorted(missing)}",
                expected="value, scheme, meaning",
            )
        kind = highdicom.sr.CodedConcept(code["value"], code["scheme"], code["meaning"])
        known = StructureCode(codes.SCT.AnatomicalStructure, kind)
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=known.category,
        segmented_property_type=known.kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="monai_semiseg",
            version=f"{__version__} {model[:16]}".strip(),
            family=codes.DCM.ArtificialIntelligence,
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*colour),
    )
    segment.SegmentDescription = f"label number {value}"
    if known.side is not None:
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        side = highdicom.sr.CodedConcept.from_code(known.side)
        kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    return segment
