"""A training ends with its worker, however that one ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from monai_semiseg.executors.owner import owned_environment
from monai_semiseg.storage.processes import is_running

OWNED = (
    "import sys, time; from monai_semiseg.executors.owner import end_with_owner\n"
    "end_with_owner(0.01); open(sys.argv[1], 'w').write('x'); time.sleep(600)"
)
OWNER = (
    "import os, signal, subprocess, sys, time\n"
    "from monai_semiseg.executors.owner import owned_environment\n"
    "child = subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]],\n"
    "    env={**os.environ, **owned_environment()})\n"
    "while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n"
    "print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
)


def test_it_ends_with_a_killed_owner(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OWNER, OWNED, str(tmp_path / "began")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    limit = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not is_running(pid)


def test_it_belongs_to_the_one_that_starts_it() -> None:
    assert owned_environment() == {"MONAI_SEMISEG_OWNER": str(os.getpid())}
