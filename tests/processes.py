"""``python -m MODULE ...`` in a process that is forked from one which has imported it all.

To import torch and MONAI takes most of a short command's time. A forked process has modules,
working directory, environment, ``sys.argv``, streams and exit code of its own, as a command
started by a shell has; only what Python itself does at its start is not run again.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType

# Every module that a short command may import; each child gets them as they are after import.
PRELOADED = ["monai.bundle", "monai_semiseg.bundles.workflow", "monai_semiseg.cli.main"]


def run_module(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float = 600
) -> CompletedProcess[str]:
    """Run ``python -m`` with these words in a folder; return exit code and what it printed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as streams:
        printed = [Path(streams, name) for name in ("stdout", "stderr")]
        request = (list(words), str(folder), dict(environment), *map(str, printed))
        process = context.Process(target=become, args=request)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = (file.read_text(errors="replace") for file in printed)
        return CompletedProcess(words, process.exitcode or 0, *said)


def become(
    words: list[str], folder: str, environment: dict[str, str], stdout: str, stderr: str
) -> None:
    """Turn this process into that of the command, and end it as Python would."""
    for number, name in ((1, stdout), (2, stderr)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    # As in a fresh Python: a fork server hands down its own way, which takes few tensors at a time.
    multiprocessing.set_start_method(None, force=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, folder)
    sys.argv = ["-m", *words[1:]]
    with ExitStack() as stack:
        stack.push(end)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def end(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    """Let the command's own hook say what went wrong; Python's exit code is 1 then."""
    if kind is not None and error is not None and not isinstance(error, SystemExit):
        sys.excepthook(kind, error, trace)
        raise SystemExit(1) from error
