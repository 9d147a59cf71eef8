"""Cases of a run in order of doubt, with their images, and the decisions on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_semiseg.datasets.cases import Case
from monai_semiseg.datasets.discover import find_cases
from monai_semiseg.datasets.layout import files_of
from monai_semiseg.errors import ConfigError, InputError
from monai_semiseg.export.doubt import by_doubt, uncertainty_of
from monai_semiseg.export.output_paths import name_of_case, name_of_mask
from monai_semiseg.export.report import CaseResult, RunReport, count_statuses, read_report
from monai_semiseg.export.sizes import VOLUME_ML, VOLUME_PX
from monai_semiseg.images.reader import ScanReader
from monai_semiseg.images.volume import Volume, collect_warnings
from monai_semiseg.labelling.decisions import (
    VERDICTS,
    Decision,
    read_decisions,
    write_decisions,
)
from monai_semiseg.labelling.review_images import ImageCache, ReviewImage, label_colours
from monai_semiseg.plain_text import printable

MOST_NOTE = 2000  # characters


class ChangedMaskError(InputError):
    """A mask that is another one than the reviewer looked at."""

    code = "E_CHANGED"


@dataclass(frozen=True)
class ReviewCase:
    """A mask of a run, and the image that it is of.

    Attributes:
        name: of the case, see :func:`~monai_semiseg.export.output_paths.name_of_case`.
        result: as the run's report has it.
        image: the image's files; None if they were not found.
    """

    name: str
    result: CaseResult
    image: Case | None


class Review:
    """Hold the masks of a run, to be looked at and decided on one by one.

    Args:
        report: of the run.
        images: name of the case -> files of its image.
    """

    def __init__(self, report: RunReport, images: Mapping[str, Case]) -> None:
        self.report = report
        self.folder = report.folder
        self.cases = [
            ReviewCase(name, result, images.get(name))
            for result in by_doubt(report.masks.values())
            for name in [name_of_mask(result.output)]
        ]
        self.images = ImageCache(self._read)
        self._writing = threading.Lock()

    def overview(self) -> dict[str, Any]:
        """Return all cases in order of doubt, the decisions on them, and the inputs without a mask.

        Raises:
            ConfigError: If the decisions cannot be read.
        """
        decisions = read_decisions(self.folder)
        without = [result for result in self.report.results if result.lacks_mask]
        return {
            "folder": printable(self.folder.resolve().name),
            "counts": count_statuses(self.report.results),
            "labels": label_colours(self.report.names),
            "cases": [self._entry(case, decisions.get(case.name)) for case in self.cases],
            "without": [_facts(result) for result in without],
        }

    def _entry(self, case: ReviewCase, decision: Decision | None) -> dict[str, Any]:
        return {
            **_facts(case.result),
            "id": printable(case.name),
            "decision": decision and self._shown(case, decision),
        }

    def _shown(self, case: ReviewCase, decision: Decision) -> dict[str, Any]:
        current = decision.is_about(self.folder / case.result.output)
        return {"decision": decision.decision, "note": decision.note, "current": current}

    def case(self, number: int) -> ReviewCase:
        """Return a case by its place in the order of doubt.

        Raises:
            IndexError: If there is none.
        """
        if number < 0:
            raise IndexError("numbers of cases begin with 0")
        return self.cases[number]

    def _read(self, number: int) -> ReviewImage:
        case = self.case(number)
        return ReviewImage.read(lambda: self._read_image(case), self._mask(case), self.report.names)

    def _mask(self, case: ReviewCase) -> Path:
        mask = self.folder / case.result.output
        if not mask.is_file():
            raise InputError("no such file", expected="a mask of the run", path=mask)
        return mask

    def _read_image(self, case: ReviewCase) -> Volume:
        """Read the image of a case as the run has read it."""
        if case.image is None:
            raise InputError(
                "the image was not found",
                expected="the images at the paths of the run",
                remedy="monai-semiseg review MASKS --input SCANS, if they have moved",
                path=case.result.input,
            )
        stacked = case.result.sizes.kind in (VOLUME_ML, VOLUME_PX)
        names = self.report.about.get("channel_names")
        reader = ScanReader(nonfinite=0.0, channels=names, stack_pages=stacked)
        with collect_warnings():
            return reader.read_volume([Path(file) for file in files_of(case.image.image)])

    def decide(self, number: int, verdict: str | None, note: str, mask_sha256: str) -> None:
        """Keep a decision on a mask; it is on the disk before this returns.

        Args:
            number: of the case.
            verdict: ``accepted``, ``rejected`` or ``needs_correction``; None takes the decision
                back.
            note: of the reviewer.
            mask_sha256: hash of the mask that the reviewer looked at.

        Raises:
            ChangedMaskError: If the mask has changed since.
            ConfigError: If the decisions that are there cannot be read; they stay as they are.
            OutputError: If the file cannot be written.
            ValueError: If there is no such verdict, or the note is too long.
        """
        case = self.case(number)
        if verdict not in (None, *VERDICTS) or len(note) > MOST_NOTE:
            raise ValueError(f"decision {verdict!r}, a note of {len(note)} characters")
        with self._writing:
            decisions = read_decisions(self.folder)  # a person may have edited it
            decisions.pop(case.name, None)
            for known in VERDICTS:
                if verdict == known:
                    text = printable(note.strip(), keep="\n")
                    made = Decision.now(case.name, known, text, self._mask(case))
                    self._require_seen(number, made, mask_sha256)
                    decisions[case.name] = made
            write_decisions(self.folder, decisions)

    def _require_seen(self, number: int, made: Decision, mask_sha256: str) -> None:
        if made.mask_sha256 == mask_sha256:
            return
        self.images.forget(number)
        raise ChangedMaskError(
            "the mask has changed since you opened it",
            remedy="look at the new mask",
            path=self._mask(self.case(number)),
        )

    def counts(self) -> dict[str, int]:
        """Return the number of masks of each decision, and of those without one."""
        decisions = read_decisions(self.folder)
        found = [decisions[case.name].decision for case in self.cases if case.name in decisions]
        counts = {str(verdict): found.count(verdict) for verdict in VERDICTS}
        return {**counts, "undecided": len(self.cases) - len(found)}


@contextmanager
def open_review(folder: Path, inputs: Sequence[Path] = ()) -> Iterator[Review]:
    """Open the masks of a run, and find their images again; archives are unpacked meanwhile.

    Args:
        folder: output folder of the run.
        inputs: where the images are; by default where they were in the run.

    Raises:
        ConfigError: If the folder holds no report with masks, an input is absent, or the decisions
            that are there cannot be read.
    """
    report = read_report(folder)
    about = report.about
    if not report.masks:
        raise ConfigError("no mask in this run", expected="masks to look at", path=folder)
    read_decisions(folder)
    roots = list(inputs) or [(folder / root).resolve() for root in about.get("inputs", ())]
    missing = [root for root in roots if not root.exists()]
    if missing or not roots:
        raise ConfigError(
            "does not exist" if missing else "the report does not say where the images are",
            expected="the images of the run",
            remedy="name their folder: monai-semiseg review MASKS --input SCANS",
            path=missing[0] if missing else folder,
        )
    frames = about.get("frames") == "each"
    with find_cases(roots, about.get("channel_names"), each_frame=frames) as found:
        yield Review(report, {name_of_case(case): case for case in found.cases})


def _facts(result: CaseResult) -> dict[str, Any]:
    """Return what the page lists of an input."""
    sizes = result.sizes
    return {
        "input": printable(result.input),
        "status": result.status,
        "reason": printable(result.reason),
        "flags": [printable(flag) for flag in result.flags],
        "uncertainty": uncertainty_of(result),
        "sizes": {printable(name): size for name, size in sizes.items()},
        "sizes_text": printable(sizes.text()),
    }
