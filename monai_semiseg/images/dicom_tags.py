"""Tags of DICOM headers that reading needs, and those that distinguish volumes of one series."""

from __future__ import annotations

import pydicom
from pydicom.datadict import tag_for_keyword

from monai_semiseg.images.dicom_values import text_of

# Tags that may distinguish volumes within one series: first the contents, then the time. Private
# tags are those of older objects: diffusion of Siemens, GE and Philips, and GE's image component
# (magnitude, phase, real, imaginary).
SPLITTING_TAGS: dict[str, int | str] = {
    "ImageType": "ImageType",
    "ComplexImageComponent": "ComplexImageComponent",
    "GE image component": 0x0043102F,
    "EchoNumbers": "EchoNumbers",
    "EchoTime": "EchoTime",
    "DiffusionBValue": "DiffusionBValue",
    "Siemens b-value": 0x0019100C,
    "GE b-value": 0x00431039,
    "Philips b-value": 0x20011003,
    "DiffusionGradientOrientation": "DiffusionGradientOrientation",
    "Siemens gradient": 0x0019100E,
    "GE gradient x": 0x001910BB,
    "GE gradient y": 0x001910BC,
    "GE gradient z": 0x001910BD,
    "Philips gradient x": 0x200510B0,
    "Philips gradient y": 0x200510B1,
    "Philips gradient z": 0x200510B2,
    "InversionTime": "InversionTime",
    "FlipAngle": "FlipAngle",
    "RepetitionTime": "RepetitionTime",
    "SequenceName": "SequenceName",
    "ReceiveCoilName": "ReceiveCoilName",
    "ConvolutionKernel": "ConvolutionKernel",
    "KVP": "KVP",
    "ContrastBolusAgent": "ContrastBolusAgent",
    "StackID": "StackID",
    "TemporalPositionIdentifier": "TemporalPositionIdentifier",
    "TemporalPositionIndex": "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase": "NominalPercentageOfCardiacPhase",
    "NominalCardiacTriggerDelayTime": "NominalCardiacTriggerDelayTime",
    "TriggerTime": "TriggerTime",
    "FrameReferenceTime": "FrameReferenceTime",
    "ActualFrameDuration": "ActualFrameDuration",
    "AcquisitionNumber": "AcquisitionNumber",
    "AcquisitionTime": "AcquisitionTime",
    "AcquisitionDateTime": "AcquisitionDateTime",
    "ContentTime": "ContentTime",
}
_SPLITTING_NAMES = {
    tag if isinstance(tag, int) else tag_for_keyword(tag): name
    for name, tag in SPLITTING_TAGS.items()
}

# Descriptive tags only; names, birth dates and ids of the patient are never read, so that they
# cannot leak into a report.
HEADER_TAGS: list[int | str] = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "InConcatenationTotalNumber",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    *SPLITTING_TAGS.values(),
]


def splitting_tags(dataset: pydicom.Dataset) -> dict[str, str]:
    """Return the text of each of :data:`SPLITTING_TAGS` that a data set has."""
    present = {_SPLITTING_NAMES[tag]: tag for tag, _ in dataset.items() if tag in _SPLITTING_NAMES}
    return {name: text for name, tag in present.items() if (text := text_of(dataset, tag))}
