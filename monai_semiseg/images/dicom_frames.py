"""The frames of an enhanced DICOM object, each with a header as a classic slice has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pydicom

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.dicom_header import DicomHeader, numbers_of, splitting_tags

# Names of enhanced objects -> the classic ones.
_CLASSIC = {
    "EffectiveEchoTime": "EchoTime",
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "FrameReferenceDateTime": "FrameReferenceTime",
    "InversionTimes": "InversionTime",
}
# Sequences in the groups that tell of other objects, or of other values.
_ELSEWHERE = (
    "DerivationImageSequence",
    "ReferencedImageSequence",
    "RealWorldValueMappingSequence",
)


def frame_headers(header: DicomHeader, dataset: pydicom.Dataset) -> list[DicomHeader]:
    """Return one header for each frame, in the order of the file.

    Args:
        header: of the object.
        dataset: all of it.

    Raises:
        UnsupportedError: If its frames do not say where they lie.
    """
    found = [_flat(groups) for groups in _groups(dataset)]
    if len(found) != header.frames or not all("ImagePositionPatient" in facts for facts in found):
        raise UnsupportedError(
            f"{header.frames} frames ({header.modality or header.class_name}) that do not say "
            "where they lie",
            expected="an enhanced image with a plane position for each frame",
            remedy="export the series as single-frame images",
            path=header.path,
        )
    return [_frame(header, number, facts) for number, facts in enumerate(found)]


def _frame(header: DicomHeader, number: int, facts: pydicom.Dataset) -> DicomHeader:
    tags = splitting_tags(facts)
    kind = tags.get("ImageType", "")
    thickness = numbers_of(facts, "SpacingBetweenSlices") or numbers_of(facts, "SliceThickness")
    return replace(
        header,
        image_type=tuple(kind.split("\\")) if kind else header.image_type,
        position=numbers_of(facts, "ImagePositionPatient"),
        orientation=numbers_of(facts, "ImageOrientationPatient"),
        spacing=numbers_of(facts, "PixelSpacing"),
        thickness=next(iter(thickness), 0.0),
        tags=tags,
        frame=number,
    )


def frame_transforms(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Return for each frame what holds its rescale: its functional group, or else the object."""
    return [
        next(
            (
                group.PixelValueTransformationSequence[0]
                for group in groups
                if group.get("PixelValueTransformationSequence")
            ),
            dataset,
        )
        for groups in _groups(dataset)
    ]


def _groups(dataset: pydicom.Dataset) -> list[tuple[pydicom.Dataset, ...]]:
    """The functional groups of each frame: its own ones first, then the shared ones."""
    shared = tuple(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    return [(item, *shared) for item in own]


def _flat(groups: tuple[pydicom.Dataset, ...]) -> pydicom.Dataset:
    """All facts of the groups in one data set, under their classic names; a frame's own win."""
    facts = pydicom.Dataset()
    for group in groups:
        for element in _leaves(group, depth=3):
            name = _CLASSIC.get(element.keyword, element.keyword)
            if name and name not in facts:
                setattr(facts, name, element.value)
    return facts


def _leaves(dataset: pydicom.Dataset, depth: int) -> Iterator[pydicom.DataElement]:
    for element in dataset:
        if element.VR != "SQ":
            yield element
        elif depth and element.value and element.keyword not in _ELSEWHERE:
            yield from _leaves(element.value[0], depth - 1)
