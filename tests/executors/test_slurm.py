"""Nobody waits for ever for a job without a result, and a refused one is named."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from submitit.core.utils import FailedJobError

from monai_semiseg.errors import ExecutorError, WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import open_engine
from monai_semiseg.executors.slurm import SlurmEngine
from tests.executors.light_work import Squares

LOCAL = ExecutorChoice("slurm", settings={"cluster": "local", "timeout_min": 5})


class OneJob:
    """Stand for a job whose folder does not answer at first, and whose result cannot be had."""

    job_id = "7"
    state = "COMPLETED"
    paths = SimpleNamespace(stderr=Path("7.err"))

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.looks = 0

    def done(self) -> bool:
        self.looks += 1
        if self.looks == 1:
            raise OSError("Stale file handle")
        return True

    def result(self) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [(EOFError("half a file"), EOFError), (FailedJobError("no such module"), WorkerLostError)],
    ids=["unreadable", "failed"],
)
def test_a_result_that_cannot_be_read_reaches_the_coordinator(
    error: Exception, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_engine(LOCAL, Squares(tmp_path / "out"), tmp_path / "logs") as engine:
        assert isinstance(engine, SlurmEngine)
        monkeypatch.setattr(engine._executor, "submit", lambda *_: OneJob(error))
        future: Future[Any] = engine.submit([1])
        assert isinstance(future.exception(5), kind)


def test_a_job_that_slurm_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise FailedJobError("sbatch: error: invalid partition\nsbatch: error: failed")

    with open_engine(LOCAL, Squares(tmp_path / "out"), tmp_path / "logs") as engine:
        assert isinstance(engine, SlurmEngine)
        monkeypatch.setattr(engine._executor, "submit", refuse)
        with pytest.raises(ExecutorError, match="invalid partition") as caught:
            engine.submit([1])
    assert len(str(caught.value).splitlines()) <= 4
