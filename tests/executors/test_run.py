"""Whoever does the work, and whatever ends them: every result once, and the same files."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from monai_semiseg.errors import ConfigError, ExecutorError, OutputError, WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice, parse_executor
from monai_semiseg.executors.engine import open_engine
from monai_semiseg.executors.local import LocalEngine
from monai_semiseg.executors.run import Done, Hooks, run_work
from monai_semiseg.executors.work import Chunk
from monai_semiseg.storage.processes import is_running
from tests.executors.light_work import NoFiles, Squares


def ends(choice: ExecutorChoice, work: Squares, count: int, **hooks: Any) -> list[Done[int, int]]:
    """Yield the ends of numbers from 0, in their order."""
    with open_engine(choice, work, work.folder.parent / "logs") as engine:
        done = list(run_work(engine, range(count), Hooks(**hooks)))
    return sorted(done, key=lambda one: one.number)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(folder.glob("*.json"))}


def will_kill(folder: Path, kills: Counter[int]) -> tuple[int, ...]:
    """Let numbers kill their workers, each some times."""
    folder.mkdir(parents=True)
    for number, times in kills.items():
        for again in range(times):
            (folder / f"{number}.kill{again}").touch()
    return tuple(kills)


def opened(folder: Path) -> set[int]:
    """Return the processes that opened the work."""
    return {int(file.suffix[1:]) for file in folder.glob("opened.*")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what one worker in this process writes."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    done = ends(parse_executor("local:1"), Squares(folder), 60)
    assert [one.result for one in done] == [n * n for n in range(60)]
    assert opened(folder) == {os.getpid()}  # no process was started
    return contents(folder)


def test_processes_of_this_machine(tmp_path: Path, whole: dict[str, str]) -> None:
    work = Squares(tmp_path / "out", pause=0.005)
    done = ends(parse_executor("local:2"), work, 60)
    assert [one.result for one in done] == [n * n for n in range(60)]
    assert contents(work.folder) == whole
    assert len(opened(work.folder)) == 2 and os.getpid() not in opened(work.folder)
    logs = {Path(one.log).name for one in done}
    assert logs == {"worker_1.txt", "worker_2.txt"} and all(Path(one.log).is_file() for one in done)


def test_twenty_killed_workers(tmp_path: Path, whole: dict[str, str]) -> None:
    """End workers at random numbers, some twice: nothing is lost, nothing comes twice."""
    kills = Counter(np.random.default_rng(0).integers(0, 60, 20).tolist())
    assert max(kills.values()) == 2
    work = Squares(tmp_path / "out", will_kill(tmp_path / "out", kills))
    done = ends(parse_executor("local:2"), work, 60)
    assert not list(work.folder.glob("*.kill*"))
    assert [(one.number, one.result) for one in done] == [(n, n * n) for n in range(60)]
    assert contents(work.folder) == whole


def test_what_kills_every_worker_is_named_and_takes_nothing_with_it(
    tmp_path: Path, whole: dict[str, str]
) -> None:
    work = Squares(tmp_path / "out", will_kill(tmp_path / "out", Counter({7: 99})))
    done = ends(parse_executor("local:2"), work, 60)
    assert len(list(work.folder.glob("7.kill*"))) == 99 - 4  # begun, and begun again three times
    assert {one.number for one in done if one.result is None} == {7}
    error = done[7].error
    assert (
        isinstance(error, WorkerLostError) and "worker_" in str(error) and "attempt 4" in str(error)
    )
    assert contents(work.folder) == {name: whole[name] for name in whole if name != "7.json"}


def test_work_without_result_files_blames_no_other_item(tmp_path: Path) -> None:
    """Name the one in a chunk of many that killed its worker, by halves."""
    handed: list[int] = []

    class Counted(LocalEngine):
        def submit(self, items: Any) -> Future[Chunk[Any]]:
            handed.append(len(items))
            return super().submit(items)

    engine = Counted(parse_executor("local:2", resubmit=0), NoFiles((37,)), tmp_path)
    done = sorted(run_work(engine, range(60)), key=lambda one: one.number)
    engine.close()
    assert [one.result for one in done] == [None if n == 37 else n * n for n in range(60)]
    (lost,) = (one.error for one in done if one.error is not None)
    assert "attempt 1" in str(lost)
    assert max(handed) > 2 and sum(handed) - 60 <= 2 * max(handed)  # n + n/2 + n/4 + ...


def coordinate(folder: Path, die_after: int) -> None:
    """Do what is not finished; die in the middle of it."""
    work = Squares(folder, pause=0.002)
    known = work.finished(range(60))
    rest = [number for number in range(60) if number not in known]
    with open_engine(parse_executor("local:2"), work, folder.parent / "logs") as engine:
        for count, _ in enumerate(run_work(engine, rest), 1):
            if count == die_after:
                os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_five_killed_coordinators(tmp_path: Path, whole: dict[str, str]) -> None:
    """Check that their workers end with them, and the next one goes on."""
    folder = tmp_path / "out"
    context = multiprocessing.get_context("spawn")
    for die_after in (1, 2, 4, 6, 8, 99):
        process = context.Process(target=coordinate, args=(folder, die_after))
        process.start()
        process.join()
        assert process.exitcode == (0 if die_after == 99 else -signal.SIGKILL)
        limit = time.monotonic() + 20
        while any(map(is_running, opened(folder))) and time.monotonic() < limit:
            time.sleep(0.02)
        assert not any(map(is_running, opened(folder)))
    assert contents(folder) == whole


def test_a_full_disk_ends_the_work_after_what_was_done(tmp_path: Path) -> None:
    work = Squares(tmp_path / "out", fails=20)
    came = []
    with (
        open_engine(parse_executor("local:2"), work, tmp_path / "logs") as engine,
        pytest.raises(OutputError, match="disk full"),
    ):
        for one in run_work(engine, range(60)):
            came.append(one.number)
    assert sorted(came) == sorted(int(name.split(".")[0]) for name in contents(work.folder))
    assert 20 not in came and len(came) < 60
    logs = [file.read_text() for file in (tmp_path / "logs").iterdir()]
    assert sum("OutputError" in text for text in logs) == 1


@pytest.mark.parametrize(
    "text", ["local:1", "local:2", pytest.param("dask:2", marks=pytest.mark.slow)]
)
def test_a_stop_keeps_what_is_finished(text: str, tmp_path: Path) -> None:
    work = Squares(tmp_path / "out", pause=0.01)
    done = ends(
        parse_executor(text), work, 500, stopped=lambda: len(list(work.folder.glob("*.json"))) >= 10
    )
    files = {int(name.split(".")[0]) for name in contents(work.folder)}
    came = {one.number for one in done}
    assert 10 <= len(files) < 500 and came <= files
    assert came == files or text == "dask:2"  # whose tasks end by themselves


def test_a_stop_counts_what_was_written_behind_the_last_result(tmp_path: Path) -> None:
    """Stop a worker that writes one item beside the next: it has finished more than it returned."""
    work = Squares(tmp_path)
    list(work.open()(range(4)))
    handed: list[Any] = []

    class AskedToEnd(LocalEngine):
        def submit(self, items: Any) -> Future[Chunk[Any]]:
            future: Future[Chunk[Any]] = Future()
            future.set_result(Chunk([0, 1]))
            handed.append(items)
            return future

        def chunk_size(self, waiting: int, pace: float | None) -> int:
            return waiting

    engine = AskedToEnd(parse_executor("local:1"), work, tmp_path)
    done = list(run_work(engine, range(6), Hooks(stopped=lambda: bool(handed))))
    engine.close()
    assert [(one.number, one.result) for one in done] == [(n, n * n) for n in range(4)]


def test_what_waits_for_another_is_not_begun_beside_it(tmp_path: Path) -> None:
    """Begin no two numbers of one tens digit together."""
    begun: list[int] = []

    def ready(number: int, held: Any) -> bool:
        return all(number // 10 != other // 10 for other in held)

    work = Squares(tmp_path / "out")
    done = ends(parse_executor("local:2"), work, 30, ready=ready, before=begun.append)
    assert len(done) == 30 and sorted(begun) == list(range(30)) and begun[:2] == [0, 10]


@pytest.mark.slow
def test_jobs_of_submitit(tmp_path: Path, whole: dict[str, str]) -> None:
    settings = {"cluster": "local", "jobs": 2, "timeout_min": 5}
    (tmp_path / "slurm.yaml").write_text(yaml.safe_dump(settings))
    work = Squares(tmp_path / "out")
    done = ends(parse_executor(f"slurm:{tmp_path / 'slurm.yaml'}"), work, 60)
    assert [one.result for one in done] == [n * n for n in range(60)]
    assert contents(work.folder) == whole and len(opened(work.folder)) == 2
    stopped = Squares(tmp_path / "stopped", pause=0.1)
    begun = time.monotonic()
    choice = parse_executor(f"slurm:{tmp_path / 'slurm.yaml'}")
    done = ends(choice, stopped, 500, stopped=lambda: bool(contents(stopped.folder)))
    assert len(done) < 500 and time.monotonic() - begun < 40  # nobody waits for what was cancelled


@pytest.mark.slow
def test_tasks_of_dask(tmp_path: Path, whole: dict[str, str]) -> None:
    """Kill a worker on the way; its log is named after it."""
    work = Squares(tmp_path / "out", will_kill(tmp_path / "out", Counter({9: 1, 30: 99})))
    done = ends(parse_executor("dask:2"), work, 60)
    assert [one.result for one in done] == [None if n == 30 else n * n for n in range(60)]
    assert contents(work.folder) == {name: whole[name] for name in whole if name != "30.json"}
    assert done[30].error is not None and done[30].error.path is not None
    assert done[30].error.path.name.startswith("worker_")
    assert all(Path(one.log).is_file() for one in done if one.result is not None)


def test_a_result_that_was_lost_with_its_worker_is_read_from_the_files() -> None:
    """Read it from the files: Dask says that the task is finished, but its result never comes."""
    from monai_semiseg.executors.dask_engine import DaskEngine

    class Finished:
        def result(self, timeout: float) -> None:
            raise TimeoutError

    engine = object.__new__(DaskEngine)
    engine._tasks = {}
    future: Future[Any] = Future()
    engine._settle(future, Finished())
    assert isinstance(engine.lost(future.exception(0)), WorkerLostError)


def test_a_requeued_job_leaves_out_what_is_finished(tmp_path: Path) -> None:
    from monai_semiseg.executors.engine import plan_of
    from monai_semiseg.executors.slurm import ChunkJob

    work = Squares(tmp_path)
    job = ChunkJob(plan_of(work))
    assert job([1, 2]).results == [1, 4]
    before = (tmp_path / "1.json").stat().st_mtime_ns
    again = job.checkpoint([1, 2, 3])
    assert again.function(*again.args).results == [1, 4, 9]
    assert (tmp_path / "1.json").stat().st_mtime_ns == before


def test_an_engine_closes_when_its_owner_fails(tmp_path: Path) -> None:
    work = Squares(tmp_path / "out", pause=0.01)
    with (
        pytest.raises(KeyError),
        open_engine(parse_executor("local:2"), work, tmp_path / "logs") as engine,
    ):
        assert isinstance(engine, LocalEngine)
        next(run_work(engine, range(500)))
        raise KeyError
    assert not any(map(is_running, opened(work.folder)))
    assert len(contents(work.folder)) < 500


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from monai_semiseg.executors import dask_engine

    monkeypatch.setattr(dask_engine, "_ANSWER", 0.2)
    choice = parse_executor("dask:tcp://127.0.0.1:9")
    with (
        pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"),
        open_engine(choice, Squares(tmp_path / "out"), tmp_path / "logs"),
    ):
        pytest.fail("it was opened")
    assert not list(tmp_path.iterdir())


@contextmanager
def scheduler(file: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start one that has no workers; it ends with the block, also if the block fails."""
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *words]) as one:
        try:
            address = ""
            while not address:
                time.sleep(0.05)
                with suppress(OSError, ValueError):  # not there yet, or half of it
                    address = json.loads(file.read_text())["address"]
            yield one, address
        finally:
            one.kill()


@pytest.mark.slow
def test_a_scheduler_that_ends_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a scheduler without workers, so that the work is still there."""
    from monai_semiseg.executors import dask_engine

    with scheduler(tmp_path / "scheduler.json") as (one, address):
        choice = parse_executor(f"dask:{address}")
        monkeypatch.setattr(dask_engine, "_ANSWER", 5)
        work = Squares(tmp_path / "out")
        with (
            open_engine(choice, work, tmp_path / "logs") as engine,
            pytest.raises(ExecutorError, match=r"scheduler at tcp://127.* has ended"),
        ):
            ticks = iter([lambda: None, one.kill])
            list(run_work(engine, range(9), Hooks(tick=lambda: next(ticks, lambda: None)())))
