"""Runner that segments a folder of scans with one network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.datasets.label_values import class_names, matched_values
from monai_semiseg.export.contact_sheet import write_contact_sheet
from monai_semiseg.export.measure import flag_outliers
from monai_semiseg.export.report import CaseResult, write_report
from monai_semiseg.export.shown_channels import require_channels
from monai_semiseg.handlers.precision import autocast_type
from monai_semiseg.inference.case_loop import run_cases
from monai_semiseg.inference.expected_image import ExpectedImage
from monai_semiseg.inference.out_of_distribution import TrainingDomain
from monai_semiseg.inference.outputs import CaseOutputs
from monai_semiseg.inference.preflight import (
    check_found,
    check_output_folder,
    refuse_masks,
    refuse_other_run,
    takes_each_frame,
)
from monai_semiseg.inference.run_facts import RunFacts, steps_of
from monai_semiseg.inference.run_manifest import RunManifest
from monai_semiseg.inference.segmenter import CaseSegmenter
from monai_semiseg.inference.team import Segment, Team, explain, segmented
from monai_semiseg.networks.weights import load_weights
from monai_semiseg.plain_text import printable

logger = logging.getLogger(__name__)


class BatchRunner:
    """Segment every scan under the inputs.

    The network is loaded once. A scan that cannot be read fails alone, with its reason in the
    report. A request that cannot be met (weights that do not fit, output inside the input, an
    output that exists) is refused before any work.

    The transforms work on the keys ``image`` and ``pred``: ``preprocessing`` loads and normalises,
    ``postprocessing`` turns ``pred`` into a label map on the scan's own grid
    (:class:`~monai_semiseg.transforms.restore.LabelOnScanGridd`, or ``Invertd`` and argmax), and
    may leave ``uncertainty`` beside it. Reading the next scan, computing this one and writing the
    last one overlap.

    Args:
        network: on its device.
        weights: .pt or .safetensors; all tensors of the network have to be in it.
        preprocessing: from path to network input.
        inferer: MONAI inferer.
        postprocessing: from network output to label map.
        inputs: files, folders, .zip archives.
        output_dir: has the same subfolders as the input; outside the inputs.
        label_names: label number (as text, as JSON has it) -> name.
        device: of the network.
        overwrite: replace masks that exist.
        preview: write a PNG beside every mask.
        about: facts to keep in the report. A run with equal facts, weights, labels and settings of
            transforms and inferer in the output folder is resumed.
        training_scans: their properties, as a plan has them: scans of other sizes, and masks of
            other volumes, are flagged; scans of another modality are refused.
        any_modality: flag scans of another modality too, instead of refusing them.
        on_flag: ``keep``: write flagged masks; ``skip``: write none; ``fail``: count such cases as
            failed. Flags of the scan's header are known before the network runs. A volume far from
            the run's others is flagged at the end, and its mask is kept.
        output_type: kinds of masks, see :class:`~monai_semiseg.inference.outputs.CaseOutputs`;
            ``native`` is the kind that came in: PNG for pictures, NIfTI for scans.
        segment_codes: label number (as text) -> ``{value, scheme, meaning}``, for DICOM SEG.
        autocast_dtype: as :func:`~monai_semiseg.handlers.precision.autocast_type` takes it; the
            report names the format that was used.
        label_values: label number of every class of the network, used in the masks; None if
            classes are the numbers.
        in_channels: channels of the images that the network takes; others are refused by name.
        channel_names: names of these channels, in their order.
        preview_channels: name of the channel that previews show, or of three for red, green and
            blue; by default the first, and colour images as they look.
        frames: ``each``: every frame of a DICOM cine is a 2-D image; None: a cine fails by name.

    Raises:
        ConfigError: If names and numbers of labels do not match, or previews are to show channels
            that the images do not have.
    """

    def __init__(
        self,
        network: nn.Module,
        weights: str,
        preprocessing: Callable[[dict[str, Any]], dict[str, Any]],
        inferer: Inferer,
        postprocessing: Callable[[dict[str, Any]], dict[str, Any]],
        inputs: str | Sequence[str],
        output_dir: str,
        label_names: Mapping[str, str],
        device: torch.device | str = "cpu",
        overwrite: bool = False,
        preview: bool = True,
        about: dict[str, Any] | None = None,
        training_scans: Mapping[str, Any] | None = None,
        any_modality: bool = False,
        on_flag: str = "keep",
        output_type: str | Sequence[str] = "native",
        segment_codes: Mapping[str, Mapping[str, str]] | None = None,
        autocast_dtype: str | None = None,
        label_values: Sequence[int] | None = None,
        in_channels: int | None = None,
        channel_names: Sequence[str] | None = None,
        preview_channels: str | Sequence[str] | None = None,
        frames: str | None = None,
    ) -> None:
        self.network = network
        self.weights = weights
        self.preprocessing = preprocessing
        self.inferer = inferer
        self.postprocessing = postprocessing
        self.inputs = _listed(inputs)
        self.output_dir = Path(output_dir)
        self.names = class_names(label_names)
        self.values = None if label_values is None else matched_values(label_values, self.names)
        self.device = torch.device(device)
        self.overwrite = overwrite
        self.precision = autocast_type(autocast_dtype, self.device)
        used = None if self.precision is None else str(self.precision).removeprefix("torch.")
        self.about = {**(about or {}), "autocast_dtype": used}
        self.domain = TrainingDomain(training_scans or {}, any_modality, on_flag)
        self.expected = ExpectedImage(in_channels, channel_names or ())
        codes = {int(index): code for index, code in (segment_codes or {}).items()}
        shown = _listed(preview_channels or ())
        require_channels(shown, channel_names or shown)
        self.outputs = CaseOutputs(
            self.output_dir, self.names, _listed(output_type), codes, preview, shown
        )
        self.each_frame = takes_each_frame(frames)
        self.results: list[CaseResult] = []

    @cached_property
    def facts(self) -> RunFacts:
        """Return what tells this run from others, and what its report says of it."""
        return RunFacts(
            Path(self.weights),
            self.inputs,
            [*steps_of(self.preprocessing), *steps_of(self.postprocessing)],
            self.inferer,
            self.names,
            self.device,
            self.domain,
            self.expected,
            self.outputs,
            self.each_frame,
            self.about,
        )

    @property
    def failed(self) -> int:
        """Return the number of cases that failed in the last run."""
        return sum(result.status == "failed" for result in self.results)

    @property
    def flagged(self) -> int:
        """Return the number of flagged masks in the last run."""
        return sum(result.status == "done" and bool(result.flags) for result in self.results)

    def run(self, team: Team | None = None) -> list[CaseResult]:
        """Segment all cases that are not finished, and write the report.

        A run that was killed is resumed: cases whose scan and mask have not changed are kept.

        Args:
            team: workers that segment; None: this process does.

        Returns:
            One result per case and per skipped file.

        Raises:
            ConfigError: If an input is absent, it holds no scan, or the output folder cannot be
                used.
            CheckpointError: If the weights do not fit.
            ExecutorError: If the team's engine ends; what is finished is kept.
            OutputError: If the disk is full; finished cases are kept, and the report lists them.
            KeyboardInterrupt: On Ctrl-C or SIGTERM, after the current case.
        """
        manifest = RunManifest(self.output_dir, self.facts.identity())
        check_output_folder(self.output_dir, self.inputs)
        if not self._may_replace(manifest):
            refuse_other_run(self.output_dir, manifest)
        segmenter = self._segmenter()
        with (
            find_cases(
                self.inputs, self.expected.channel_names, each_frame=self.each_frame
            ) as found,
            ExitStack() as stack,
        ):
            check_found(found, self.inputs)
            if not self._may_replace(manifest):
                for case in found.cases:
                    refuse_masks(self.outputs.paths(case).masks)
            skipped = [
                CaseResult(printable(str(s.source)), "skipped", reason=printable(str(s.reason)))
                for s in found.skipped
            ]
            segment: Segment = partial(segmented, segmenter, manifest)
            if team is not None:
                segment = stack.enter_context(team.begun(manifest, self.outputs))
            if self.overwrite and manifest.started:
                manifest.clear()
            manifest.open()
            try:
                run_cases(found.cases, manifest, segment)
            finally:
                finished = manifest.finished()
                cases = [finished[case.id] for case in found.cases if case.id in finished]
                self.results = [*skipped, *flag_outliers(cases)]
                self._report()
        return self.results

    def exit_code(self) -> int:
        """Return 3 if cases failed, else 5 if masks are flagged, else 0."""
        if self.failed:
            return 3
        return 5 if self.flagged else 0

    def finish(self) -> None:
        """End the process with :meth:`exit_code` unless it is 0.

        The last step of a bundle's ``finalize``.
        """
        code = self.exit_code()
        if code:
            raise SystemExit(code)

    def _may_replace(self, manifest: RunManifest) -> bool:
        """Return True if masks may be replaced; another process may start the run at any time."""
        return self.overwrite or manifest.is_same_run

    def worker(self, number: int) -> Callable[[Sequence[Case]], Iterator[CaseResult]]:
        """Return the function of a worker: it segments cases, and writes all but the report.

        Args:
            number: of the run that it belongs to, see
                :class:`~monai_semiseg.inference.run_manifest.RunManifest`.

        Raises:
            CheckpointError: If the weights do not fit.
        """
        segmenter = self._segmenter()
        manifest = RunManifest(self.output_dir, {}, number)

        def segment(cases: Sequence[Case]) -> Iterator[CaseResult]:
            for result, _ in segmented(segmenter, manifest, cases, explain=explain):
                yield result

        return segment

    def _segmenter(self) -> CaseSegmenter:
        load_weights(self.network, self.weights, strict=True)
        self.network.eval()
        self.outputs.model = self.facts.digest
        return CaseSegmenter(
            self.network,
            self.preprocessing,
            self.inferer,
            self.postprocessing,
            self.outputs,
            self.names,
            self.device,
            self.domain,
            self.expected,
            self.precision,
            self.values,
        )

    def _report(self) -> None:
        write_report(self.results, self.output_dir, self.names, self.facts.report())
        if self.outputs.preview:
            write_contact_sheet(self.results, self.output_dir, self.names)


def _listed(given: str | Sequence[str]) -> list[str]:
    """Return what a config may give as one value or as a list."""
    return [given] if isinstance(given, str | Path) else list(given)
