"""A folder of scans through one network: loaded once, every case on its own, nothing half-written."""

from __future__ import annotations

import logging
import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from monai.transforms import Compose
from torch import nn
from tqdm import tqdm

from monai_semiseg import __version__
from monai_semiseg.datasets.cases import Case, FoundCases
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.datasets.label_values import matched_values
from monai_semiseg.errors import ConfigError, OutputError
from monai_semiseg.export.contact_sheet import write_contact_sheet
from monai_semiseg.export.measure import flag_outliers
from monai_semiseg.export.report import CaseResult, write_report
from monai_semiseg.handlers.precision import autocast_type
from monai_semiseg.inference.interrupt import stop_requests
from monai_semiseg.inference.out_of_distribution import TrainingDomain
from monai_semiseg.inference.outputs import CaseOutputs
from monai_semiseg.inference.pipeline import overlapped
from monai_semiseg.inference.run_manifest import RunManifest
from monai_semiseg.inference.segmenter import CaseSegmenter, Work
from monai_semiseg.networks.weights import load_weights
from monai_semiseg.plain_text import printable
from monai_semiseg.storage.files import sha256_of
from monai_semiseg.storage.shard import parse_shard, shard_of

logger = logging.getLogger(__name__)


class BatchRunner:
    """Segment every scan under the inputs.

    A scan that cannot be read right fails alone, with its reason in the report. A request that
    cannot be met (weights that do not fit, output inside the input, an output that exists) is
    refused before any work.

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
        output_dir: mirrors the input tree; outside the inputs.
        label_names: label number (as text, as JSON has it) -> name.
        device: of the network.
        overwrite: replace masks that are there.
        preview: write a PNG beside every mask.
        about: facts to keep in the report; with weights and labels they say whether a run that is
            found in the output folder is this one, and goes on.
        training_scans: what they were like, as a plan has it: scans unlike them in size, and masks
            unlike their labels in volume, are flagged; scans of another modality are refused.
        any_modality: flag those as well instead.
        on_flag: ``keep``: write flagged masks; ``skip``: write none; ``fail``: count such cases as
            failed. What the scan's header tells is known before the network runs. A volume far from
            the run's others is flagged when all is done, and its mask is kept.
        output_type: ``nifti``, ``dicom_seg``, or both; a DICOM SEG is written for DICOM series
            only.
        segment_codes: label number (as text) -> ``{value, scheme, meaning}``, for DICOM SEG.
        shard: ``i/n``: this process does every n-th case; None: as torchrun or SLURM say, else all.
        autocast_dtype: as :func:`~monai_semiseg.handlers.precision.autocast_type` takes it; the
            report says what it came to.
        label_values: label number of every class of the network, which masks are written with; None
            if classes are the numbers.

    Raises:
        ConfigError: If names and numbers of labels do not match.
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
        output_type: str | Sequence[str] = "nifti",
        segment_codes: Mapping[str, Mapping[str, str]] | None = None,
        shard: str | None = None,
        autocast_dtype: str | None = None,
        label_values: Sequence[int] | None = None,
    ) -> None:
        self.network, self.weights = network, weights
        self.preprocessing, self.inferer, self.postprocessing = (
            preprocessing,
            inferer,
            postprocessing,
        )
        self.inputs = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        self.output_dir = Path(output_dir)
        self.names = {int(value): name for value, name in label_names.items()}
        self.values = None if label_values is None else matched_values(label_values, self.names)
        self.device, self.overwrite = torch.device(device), overwrite
        self.precision = autocast_type(autocast_dtype, self.device)
        used = None if self.precision is None else str(self.precision).removeprefix("torch.")
        self.about = {**(about or {}), "autocast_dtype": used}
        self.shard = parse_shard(shard)
        self.domain = TrainingDomain(training_scans or {}, any_modality, on_flag)
        kinds = [output_type] if isinstance(output_type, str) else list(output_type)
        codes = {int(index): code for index, code in (segment_codes or {}).items()}
        self.outputs = CaseOutputs(self.output_dir, self.names, kinds, codes, preview)
        self.results: list[CaseResult] = []
        self._weights_sha256: str | None = None

    @property
    def failed(self) -> int:
        """Number of cases that failed in the last run."""
        return sum(result.status == "failed" for result in self.results)

    @property
    def flagged(self) -> int:
        """Number of masks of the last run that are flagged."""
        return sum(result.status == "done" and bool(result.flags) for result in self.results)

    def run(self) -> list[CaseResult]:
        """Segment everything that is not finished, and write the report.

        A run that was killed goes on: cases whose scan and mask are as they were left are kept.

        Returns:
            One result per case and per skipped file.

        Raises:
            ConfigError: If an input is absent, nothing is there to segment, or the output folder
                will not do.
            CheckpointError: If the weights do not fit.
            OutputError: If the disk is full; what is done stays, and the report lists it.
            KeyboardInterrupt: On Ctrl-C or SIGTERM, after the case that is under way.
        """
        manifest = RunManifest(self.output_dir, self._identity(), self.shard)
        self._check_output(manifest)
        load_weights(self.network, self.weights, strict=True)
        self.network.eval()
        segmenter = self._segmenter()
        with find_cases(self.inputs) as found:
            self._check_found(found, manifest)
            skipped = [
                CaseResult(printable(str(s.source)), "skipped", reason=printable(str(s.reason)))
                for s in found.skipped
            ]
            if self.overwrite and manifest.started:
                manifest.clear()
            manifest.open()
            try:
                self._run_cases(shard_of(found.cases, *self.shard), manifest, segmenter)
            finally:
                finished = manifest.finished()
                cases = [finished[case.id] for case in found.cases if case.id in finished]
                self.results = [*skipped, *flag_outliers(cases)]
                self._report()
                manifest.close()
        return self.results

    def exit_code(self) -> int:
        """0 if every case was done, 3 if some failed; else 5 if some masks are flagged."""
        if self.failed:
            return 3
        return 5 if self.flagged else 0

    def finish(self) -> None:
        """Leave the process with :meth:`exit_code` unless that is 0: the last step of a bundle's ``finalize``."""
        if code := self.exit_code():
            raise SystemExit(code)

    def _check_output(self, manifest: RunManifest) -> None:
        target = self.output_dir.resolve()
        for source in map(Path, self.inputs):
            if source.is_dir() and target.is_relative_to(source.resolve()):
                raise ConfigError(
                    "lies inside the input",
                    expected="an output folder outside the input folders",
                    remedy=f"--output {source.resolve().name}_masks",
                    path=self.output_dir,
                )
        there = next(folder for folder in (target, *target.parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(
                "cannot be written",
                expected="a folder, or room for a new one",
                remedy="choose another output folder",
                path=self.output_dir,
            )
        if not (self.overwrite or manifest.ours) and (
            (self.output_dir / "report.json").exists() or manifest.started
        ):
            raise ConfigError(
                "holds the results of another run",
                expected="a new or empty folder",
                remedy="choose another folder, or say --overwrite",
                path=self.output_dir,
            )

    def _check_found(self, found: FoundCases, manifest: RunManifest) -> None:
        if not found.cases:
            raise ConfigError(
                f"no scan found {_passed_over(found)}",
                expected="NIfTI, NRRD, MetaImage or DICOM files",
                path=Path(self.inputs[0]),
            )
        for case in found.cases:
            if not (self.overwrite or manifest.ours) and self.outputs.mask(case).exists():
                raise ConfigError(
                    "exists",
                    expected="an output folder without masks of these scans",
                    remedy="choose another folder, or say --overwrite",
                    path=self.outputs.mask(case),
                )

    def _run_cases(self, cases: Sequence[Case], manifest: RunManifest, work: CaseSegmenter) -> None:
        rest = [case for case in cases if not manifest.still_good(case)]
        with (
            stop_requests() as stop,
            tqdm(
                total=len(cases), initial=len(cases) - len(rest), desc="Segmenting", unit="scan"
            ) as bar,
        ):
            left = len(rest)

            def finish(done: Work) -> Work:
                """Write a case, then its line: both wait for the disk, the network for neither."""
                work.write(done)
                if done.result is not None:
                    manifest.add(done.case, done.result)
                return done

            for done in overlapped(rest, work.read, work.compute, finish, lambda: stop.wanted):
                if (result := done.result) is None:
                    continue
                bar.update()
                left -= 1
                if result.status != "done":
                    bar.write(printable(f"{result.status}: {result.reason}"))
                if isinstance(done.cause, OutputError):
                    raise done.cause from done.cause.__cause__  # the next scan would meet the same full disk
            if left:
                raise KeyboardInterrupt(
                    f"{left} of {len(cases)} scans are left; run the same command again to go on"
                )

    def _segmenter(self) -> CaseSegmenter:
        return CaseSegmenter(
            self.network,
            self.preprocessing,
            self.inferer,
            self.postprocessing,
            self.outputs,
            self.names,
            self.device,
            self.domain,
            self._digest(),
            self.precision,
            self.values,
        )

    def _identity(self) -> dict[str, Any]:
        """What makes masks belong to one run."""
        outputs = {"preview": self.outputs.preview, "output": self.outputs.kinds}
        steps = [
            _named(step)
            for whole in (self.preprocessing, self.postprocessing)
            for step in _flat(whole)
        ]
        return {
            "weights_sha256": self._digest(),
            "labels": self.names,
            "transforms": steps,
            "training_scans": self.domain.training,
            "on_flag": self.domain.on_flag,
            **outputs,
            **self.about,
        }

    def _digest(self) -> str:
        if self._weights_sha256 is None and Path(self.weights).is_file():
            self._weights_sha256 = sha256_of(self.weights)
        return self._weights_sha256 or ""

    def _report(self) -> None:
        about = {
            "tool": f"monai_semiseg {__version__}, research use only",
            "weights_sha256": self._digest(),
            "device": str(self.device),
            "on_flag": self.domain.on_flag,
            "python": platform.python_version(),
            "torch": torch.__version__,
            **self.about,
        }
        write_report(self.results, self.output_dir, self.names, about)
        if self.outputs.preview:
            write_contact_sheet(self.results, self.output_dir, self.names)


def _passed_over(found: FoundCases) -> str:
    """Say what was there instead of scans."""
    reasons = Counter(skipped.reason for skipped in found.skipped).most_common()
    if not reasons:
        return "(there is no file)"
    listed = ", ".join(f"{count} x {reason}" for reason, count in reasons[:5])
    more = sum(count for _, count in reasons[5:])
    return f"among {len(found.skipped)} files: {listed}{f', {more} others' if more else ''}"


def _flat(transform: Any) -> Sequence[Any]:
    """The steps of a MONAI ``Compose``, or the one step that there is."""
    return transform.flatten().transforms if isinstance(transform, Compose) else (transform,)


def _named(step: Any) -> str:
    """A transform's kind, and what its results depend on if it can tell."""
    return (
        f"{getattr(step, '__name__', type(step).__name__)} {getattr(step, 'identity', '')}".strip()
    )
