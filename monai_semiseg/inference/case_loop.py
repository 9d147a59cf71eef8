"""Loop over the cases of a folder run: progress, reasons of failures, stop requests."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from monai_semiseg.datasets.cases import Case
from monai_semiseg.inference.interrupt import stop_requests
from monai_semiseg.inference.run_manifest import RunManifest
from monai_semiseg.inference.team import Segment
from monai_semiseg.plain_text import printable


def run_cases(cases: Sequence[Case], manifest: RunManifest, segment: Segment) -> None:
    """Segment the cases that are not finished, and show how many are left.

    Args:
        cases: all cases of the run.
        manifest: says which cases are finished.
        segment: segments cases, and yields their results.

    Raises:
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after the current case.
    """
    rest = [case for case in cases if not manifest.is_finished(case)]
    with (
        stop_requests() as stop,
        tqdm(
            total=len(cases),
            initial=len(cases) - len(rest),
            desc="Segmenting",
            unit="scan",
            smoothing=0,  # chunks of many scans come in at once
        ) as bar,
    ):
        left = len(rest)
        for result, log in segment(rest, lambda: stop.wanted):
            bar.update()
            left -= 1
            if result.status != "done":
                where = f" (log: {log})" if log else ""
                bar.write(printable(f"{result.status}: {result.reason}{where}"))
        if left:
            raise KeyboardInterrupt(
                f"{left} of {len(cases)} scans are left; run the same command again to go on"
            )
