"""Segmentation of one scan in three steps for different threads: read, compute, write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import nn

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.label_maps import looks_like_labels
from monai_semiseg.datasets.label_values import in_file_numbers, matched_values
from monai_semiseg.errors import (
    DimensionError,
    SemisegError,
    UnlikeTrainingError,
    root_cause,
)
from monai_semiseg.export.measure import label_sizes, measure_labels
from monai_semiseg.export.radiological import is_picture
from monai_semiseg.export.report import CaseResult
from monai_semiseg.handlers.precision import autocast
from monai_semiseg.images.grid import unit_of
from monai_semiseg.images.reader import collect_voxels
from monai_semiseg.images.volume import collect_warnings
from monai_semiseg.inference.case_errors import CASE_ERRORS, code_of, reason_of
from monai_semiseg.inference.expected_image import ExpectedImage
from monai_semiseg.inference.out_of_distribution import TrainingDomain
from monai_semiseg.inference.outputs import CaseOutputs, Segmented
from monai_semiseg.inferers.finite import require_finite
from monai_semiseg.inferers.out_of_memory import OutOfMemoryFallback
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import resident_memory


@dataclass
class Work:
    """State of a case between the steps.

    Attributes:
        case: the scan.
        item: data of the transforms; emptied as soon as the mask has been written.
        voxels: of the scan as it is in the file, for measurements and pictures; emptied likewise.
        notes: remarks for the report.
        flags: codes of reasons to check the mask.
        seconds: of the steps so far, without waiting.
        memory: largest number of megabytes after a step: of the GPU, or of this process.
        cause: the error that made it fail.
        result: for the report.
    """

    case: Case
    item: dict[str, Any] = field(default_factory=dict)
    voxels: NDArray[Any] | None = None
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory: float = 0.0
    cause: BaseException | None = None
    result: CaseResult | None = None


class CaseSegmenter:
    """The three steps of a case.

    An error that a scan can cause is not raised: it is kept in the work, and later steps are left
    out.

    Args:
        network: on its device, in evaluation mode.
        preprocessing: from path to network input, on the key ``image``.
        inferer: MONAI inferer.
        postprocessing: from network output to label map, on the key ``pred``.
        outputs: writer of the results.
        names: label number -> name.
        device: of the network.
        domain: properties of the training scans, and the treatment of scans that differ.
        expected: channels that the network takes.
        precision: the network's number format under autocast; None is float32 everywhere.
        values: label number of every class of the network; None if classes are the numbers.

    Raises:
        ConfigError: If names and numbers of labels do not match.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Callable[[dict[str, Any]], dict[str, Any]],
        inferer: Inferer,
        postprocessing: Callable[[dict[str, Any]], dict[str, Any]],
        outputs: CaseOutputs,
        names: Mapping[int, str],
        device: torch.device,
        domain: TrainingDomain,
        expected: ExpectedImage,
        precision: torch.dtype | None = None,
        values: Sequence[int] | None = None,
    ) -> None:
        self.network = network
        self.preprocessing = preprocessing
        self.postprocessing = postprocessing
        self.values = matched_values(values, names)
        self.inferer = OutOfMemoryFallback(inferer, len(self.values))
        self.outputs = outputs
        self.names = names
        self.device = device
        self.domain = domain
        self.expected = expected
        self.precision = precision
        # MONAI's Invertd switches tracing off in the transforms that may be reading the next scan.
        self._transforms = threading.Lock()

    def read(self, case: Case) -> Work:
        """Load and normalise the scan."""
        return self._take(self._read, Work(case))

    def compute(self, work: Work) -> Work:
        """Run the network."""
        return self._take(self._compute, work)

    def write(self, work: Work) -> Work:
        """Resample the mask onto the scan's grid, write all outputs, and add the result.

        A case that failed has no files, not even those of an earlier run.
        """
        self._take(self._write, work)
        work.item = {}
        work.voxels = None
        if work.cause is not None:
            self.outputs.clear(work.case)
            work.result = self._failure(work, work.cause)
        if work.result is not None:
            work.result = replace(work.result, seconds=work.seconds, memory_mb=work.memory)
        return work

    def _failure(self, work: Work, cause: BaseException) -> CaseResult:
        """Return the result of a case that failed or is skipped."""
        skip = isinstance(cause, UnlikeTrainingError) and self.domain.on_flag == "skip"
        return CaseResult(
            printable(str(work.case.source)),
            "skipped" if skip else "failed",
            "",
            work.case.with_archive_path(reason_of(cause)),
            code_of(cause),
            flags=work.flags,
        )

    def _take(self, step: Callable[[Work], None], work: Work) -> Work:
        """Do a step, time it and keep its error; cases that have failed are left out."""
        if work.cause is not None:
            return work
        begun = time.perf_counter()
        try:
            with collect_warnings() as notes, torch.inference_mode():
                step(work)
            work.notes += notes
        except CASE_ERRORS as error:
            work.cause = root_cause(error)  # MONAI wraps what a transform raises
        work.seconds += time.perf_counter() - begun
        work.memory = max(work.memory, self._memory())
        return work

    def _memory(self) -> float:
        """Return the megabytes in use: the largest number on the GPU, or those of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return resident_memory()

    def _read(self, work: Work) -> None:
        if work.case.fault is not None:
            raise work.case.fault
        with self._transforms, collect_voxels() as voxels:
            try:
                work.item = self.preprocessing({"image": work.case.image})
            except CASE_ERRORS as error:
                if not isinstance(root_cause(error), SemisegError):
                    # Transforms for other channels fail in their own words.
                    self._require_expected(voxels, (), work.case)
                raise
        meta = work.item["image"].meta
        self._require_expected(voxels, meta.get("channels") or (), work.case)
        work.voxels = voxels[0] if len(voxels) == 1 else None
        if work.voxels is not None and looks_like_labels(work.voxels):
            work.notes.append(f"W_LABEL_LIKE {work.case.source}: few whole numbers; a label map?")
        found = self.domain.scan_flags(
            [int(n) for n in meta["spatial_shape"]],
            np.asarray(meta["original_affine"], dtype=np.float64),
            str(meta.get("modality", "")),
            work.case.source,
            unit_of(meta),
        )
        self._flag(work, "unlike the training scans", found)

    def _require_expected(
        self, voxels: Sequence[NDArray[Any]], channels: Sequence[str], case: Case
    ) -> None:
        """Refuse an image that the network cannot take, before the network fails."""
        for image in voxels:
            self.expected.check(image.shape, channels, case.source)

    def _flag(self, work: Work, head: str, found: Mapping[str, str]) -> None:
        """Add flags to a scan or its mask.

        Raises:
            UnlikeTrainingError: If flagged masks are not kept.
        """
        if not found:
            return
        work.flags += found
        remark = f"{head}: {'; '.join(found.values())}"
        if self.domain.on_flag != "keep":
            raise UnlikeTrainingError(
                remark,
                remedy="look at the scan; --on_flag keep writes its mask",
                path=work.case.source,
            )
        work.notes.append(f"{remark}; look at the mask before you use it")

    def _compute(self, work: Work) -> None:
        image = work.item["image"]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with autocast(self.device, self.precision):
            output = self.inferer(image[None].to(self.device), self.network)
        require_finite(output, image.meta["filename_or_obj"])
        work.item["pred"] = MetaTensor(output[0].float(), meta=image.meta)

    def _write(self, work: Work) -> None:
        with self._transforms:
            item = self.postprocessing(work.item)
        native = item["image"].meta
        mask = in_file_numbers(np.asarray(item["pred"].as_tensor().cpu())[0], self.values)
        affine = np.asarray(native["original_affine"], dtype=np.float64)
        if mask.shape != tuple(int(n) for n in native["spatial_shape"]):
            raise DimensionError(
                f"mask of shape {mask.shape}",
                expected=f"shape {tuple(native['spatial_shape'])}",
                path=work.case.source,
            )
        sizes = label_sizes(mask, affine, self.names, unit_of(native))
        self._flag(work, "unlikely mask", self.domain.mask_flags(sizes))
        uncertainty = None
        if "uncertainty" in item:
            uncertainty = np.asarray(item["uncertainty"].as_tensor().cpu())[0]
        path, remarks = self.outputs.write(
            work.case,
            Segmented(mask, affine, sizes, native, work.voxels, uncertainty, work.flags),
        )
        channels = native.get("channels") or ()
        result = CaseResult(
            printable(str(work.case.source)),
            "done",
            str(path.relative_to(self.outputs.folder)),
            printable(work.case.with_archive_path("; ".join([*work.notes, *remarks]))),
            measures=measure_labels(mask, self.names, work.voxels, uncertainty, channels),
            flags=work.flags,
            is_picture=is_picture(native),
        )
        measured: dict[str, Any] = {sizes.kind.field: dict(sizes)}
        work.result = replace(result, **measured)
