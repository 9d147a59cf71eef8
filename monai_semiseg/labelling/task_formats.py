"""Kinds of files in which a mask is handed out."""

from __future__ import annotations

# What a user says -> kind of mask of inference.outputs.CaseOutputs.
FORMATS = {"seg.nrrd": "seg_nrrd", "nifti": "nifti", "dicom_seg": "dicom_seg", "png": "png"}
