"""What does the work in tests: processes, submitit without SLURM, Dask on this machine."""

from __future__ import annotations

from pathlib import Path

ENGINES = ("local:2", "slurm", "dask:2")


def engine(name: str, folder: Path) -> str:
    """Return the word for ``--executor``."""
    if name != "slurm":
        return name
    file = folder / "slurm.yaml"
    file.write_text("{cluster: local, jobs: 2, timeout_min: 5}\n")
    return f"slurm:{file}"
