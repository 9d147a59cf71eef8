"""Order of the cases of a run: the masks that are most in doubt first."""

from __future__ import annotations

from collections.abc import Iterable

from monai_semiseg.export.report import CaseResult


def by_doubt(results: Iterable[CaseResult]) -> list[CaseResult]:
    """Sort results so that a reader who stops early has seen the most doubtful masks.

    Masks with more flags come first, then those with a remark, with more uncertainty in a label,
    and with a label in more pieces.
    """
    return sorted(results, key=_confidence)


def uncertainty_of(result: CaseResult) -> float:
    """Return the mean uncertainty of the most uncertain label; 0 if the run measured none."""
    found = [of.get("mean_uncertainty", 0.0) for of in result.measures.values()]
    return float(max(found, default=0.0))


def _confidence(result: CaseResult) -> tuple[int, bool, float, float, str]:
    shares = [of.get("largest_share", 1.0) for of in result.measures.values()]
    whole = float(min(shares, default=1.0))
    flags = -len(result.flags)
    return flags, not result.reason, -uncertainty_of(result), whole, result.output
