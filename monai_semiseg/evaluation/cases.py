"""Evaluation that goes on after a bad case, which is reported with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from monai.data import Dataset
from monai.engines import SupervisedEvaluator

from monai_semiseg.datasets.layout import files_of
from monai_semiseg.errors import InputError, root_cause


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
    """MONAI evaluator that leaves out the failed cases of a :class:`CaseDataset`."""

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        return [] if "failed" in batchdata else super()._iteration(engine, batchdata)


def failed_cases(batch: Any) -> list[FailedCase]:
    """Return the failed cases of a batch; MONAI's collation has made lists of their fields."""
    if not isinstance(batch, Mapping) or "failed" not in batch:
        return []
    fields = batch["failed"]
    return [
        FailedCase(case, code, reason)
        for case, code, reason in zip(fields["case"], fields["code"], fields["reason"], strict=True)
    ]
