"""Evaluation that goes on after a bad case, which is reported with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from monai.data import Dataset
from monai.engines import IterationEvents, SupervisedEvaluator
from monai.utils import CommonKeys as Keys

from monai_semiseg.datasets.layout import files_of
from monai_semiseg.errors import InputError, root_cause
from monai_semiseg.inferers.finite import require_finite


@dataclass(frozen=True)
class FailedCase:
    """A case that was left out.

    Attributes:
        case: its name; in the items of a data set its first label file.
        code: stable code of the error.
        reason: the error on one line; it names the file.
    """

    case: str
    code: str
    reason: str


class CaseDataset(Dataset):
    """MONAI dataset whose item is ``{"failed": ...}`` where a scan or label cannot be used.

    A scan that cannot be read, a label with undeclared values or on another grid: bad data fail
    their case alone. Other errors are raised. For batches of one case.
    """

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except (RuntimeError, InputError) as error:  # MONAI wraps what a transform raises
            cause = root_cause(error)
            if not isinstance(cause, InputError):
                raise
            file = files_of(self.data[index]["label"])[0]
            return {"failed": asdict(FailedCase(file, cause.code, cause.reason))}


class CaseEvaluator(SupervisedEvaluator):
    """MONAI evaluator that leaves out the failed cases of a :class:`CaseDataset`.

    A case whose output is not finite, or which the postprocessing refuses, fails likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_event_handler(IterationEvents.FORWARD_COMPLETED, _require_finite_output)

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        if "failed" in batchdata:
            return []
        try:
            return super()._iteration(engine, batchdata)
        except (RuntimeError, InputError) as error:  # MONAI wraps what a transform raises
            cause = root_cause(error)
            if not isinstance(cause, InputError):
                raise
            failed = FailedCase(_file_of(batchdata["label"]) or "", cause.code, cause.reason)
            engine.state.batch = {"failed": {key: [of] for key, of in asdict(failed).items()}}
            return []


def _require_finite_output(engine: Any) -> None:
    require_finite(engine.state.output[Keys.PRED], _file_of(engine.state.output[Keys.IMAGE]))


def _file_of(batch: Any) -> str | None:
    """Return the file of the one image or label in a batch."""
    file = getattr(batch, "meta", {}).get("filename_or_obj")
    return str(file[0] if isinstance(file, list | tuple) else file) if file else None


def failed_cases(batch: Any) -> list[FailedCase]:
    """Return the failed cases of a batch; MONAI's collation has made lists of their fields."""
    if not isinstance(batch, Mapping) or "failed" not in batch:
        return []
    fields = batch["failed"]
    return [
        FailedCase(case, code, reason)
        for case, code, reason in zip(fields["case"], fields["code"], fields["reason"], strict=True)
    ]
