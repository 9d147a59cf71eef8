"""Process set-up: a command's own process is changed, a host program's is not."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.bundles.command_line import is_bundle_command

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"
FAULTS = """
def faults(one=b"x"):
    import resource
    one * (1 << 26)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for number in range(10):
        one * ((1 << 26) + number)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""
HOST = """
import importlib, json, logging, pkgutil, sys, warnings
import monai_semiseg
def state():
    known = logging.root.manager.loggerDict
    names = ["monai", *(name for name in known if name.startswith("monai"))]
    return {
        "hook": sys.excepthook is sys.__excepthook__,
        "filters": [str(item) for item in warnings.filters],
        "levels": {name: logging.getLogger(name).level for name in names},
    }
for module in pkgutil.walk_packages(monai_semiseg.__path__, "monai_semiseg."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from monai_semiseg.bundles.workflow import open_workflow
before = state()
open_workflow(sys.argv[1], "train").initialize()
after = state()
after["levels"] = {name: after["levels"][name] for name in before["levels"]}
print(json.dumps({"before": before, "after": after, "faults": faults()}))
"""


def run(code: str, *argv: str) -> Any:
    """Run a script and return its last line."""
    command = [sys.executable, "-c", FAULTS + code, *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_host_program_is_left_as_it_was() -> None:
    """Check that importing and training keep hooks, warnings, log levels and allocator."""
    found = run(HOST, str(BUNDLE))
    assert found["before"] == found["after"]
    assert found["before"]["hook"] is True
    assert not [line for line in found["before"]["filters"] if "NvImgCodec" in line]
    if platform.libc_ver()[0] == "glibc":
        assert found["faults"] > 100_000  # 64 MB ten times are 163,840 pages of 4 kB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_stays_with_a_command() -> None:
    """Check that freed memory is kept; otherwise a step spends a sixth of its time on new pages."""
    code = "from monai_semiseg.bundles.command_line import begin_command\nbegin_command()\n"
    assert run(code + "print(faults())\n") < 2000


NOTICES = """
import json, logging, sys
from monai_semiseg.bundles.command_line import begin_command
begin_command()
logger = logging.getLogger("monai.bundle.workflows")
logger.setLevel(logging.INFO)  # as MONAI's get_logger does when a verb imports MONAI, later
logger.addHandler(logging.StreamHandler(sys.stdout))
for level in ("error", "warning"):
    getattr(logger, level)(json.dumps(level))
"""


def test_standing_notices_stay_silent_after_monai_is_imported() -> None:
    assert run(NOTICES) == "error"


def test_a_bundle_command_is_known_by_what_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that the main module counts, not the words of the command line."""
    monkeypatch.setattr(sys, "argv", ["monai/bundle/__main__.py", "run"])
    assert not is_bundle_command()
    spec = type("Spec", (), {"name": "monai.bundle.__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    assert is_bundle_command()
