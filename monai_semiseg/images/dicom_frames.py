"""Frames of an enhanced DICOM object, each with the header of a classic slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pydicom

from monai_semiseg.errors import UnsupportedError
from monai_semiseg.images.dicom_header import DicomHeader
from monai_semiseg.images.dicom_tags import splitting_tags
from monai_semiseg.images.dicom_values import numbers_of

# Attribute of enhanced objects -> attribute of classic ones.
_CLASSIC = {
    "EffectiveEchoTime": "EchoTime",
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "FrameReferenceDateTime": "FrameReferenceTime",
    "InversionTimes": "InversionTime",
}
# Sequences in the functional groups that describe other objects or other values.
_IGNORED_SEQUENCES = (
    "DerivationImageSequence",
    "ReferencedImageSequence",
    "RealWorldValueMappingSequence",
)


def frame_headers(header: DicomHeader, dataset: pydicom.Dataset) -> list[DicomHeader]:
    """Return one header for each frame, in the order of the file.

    Args:
        header: header of the object.
        dataset: the whole object.

    Raises:
        UnsupportedError: If frames have no position.
    """
    found = [_flat(groups) for groups in _groups(dataset)]
    if len(found) != header.frames or not all("ImagePositionPatient" in facts for facts in found):
        raise UnsupportedError(
            f"{header.frames} frames ({header.modality or header.class_name}) without positions",
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
    """Return for each frame the data set with its rescale: its functional group, or the object."""
    return [_transform(groups, default=dataset) for groups in _groups(dataset)]


def _transform(groups: tuple[pydicom.Dataset, ...], default: pydicom.Dataset) -> pydicom.Dataset:
    for group in groups:
        if group.get("PixelValueTransformationSequence"):
            return group.PixelValueTransformationSequence[0]
    return default


def _groups(dataset: pydicom.Dataset) -> list[tuple[pydicom.Dataset, ...]]:
    """Return the functional groups of each frame: its own first, then the shared ones."""
    shared = tuple(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    return [(item, *shared) for item in own]


def _flat(groups: tuple[pydicom.Dataset, ...]) -> pydicom.Dataset:
    """Collect all elements of the groups under their classic names; a frame's own come first."""
    flat = pydicom.Dataset()
    for group in groups:
        for element in _leaves(group, depth=3):
            name = _CLASSIC.get(element.keyword, element.keyword)
            if name and name not in flat:
                setattr(flat, name, element.value)
    return flat


def _leaves(dataset: pydicom.Dataset, depth: int) -> Iterator[pydicom.DataElement]:
    for element in dataset:
        if element.VR != "SQ":
            yield element
        elif depth and element.value and element.keyword not in _IGNORED_SEQUENCES:
            yield from _leaves(element.value[0], depth - 1)
