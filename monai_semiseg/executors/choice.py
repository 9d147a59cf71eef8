"""Choice of what does the work: ``local[:N]``, ``slurm[:CONFIG.yaml]``, ``dask[:ADDRESS]``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from monai_semiseg.errors import ConfigError

Kind = Literal["local", "slurm", "dask"]
FORMS = "local[:N], slurm[:CONFIG.yaml] or dask[:ADDRESS]"
RESUBMIT = 3  # times, of work whose worker has ended
_PACKAGES = {"slurm": "submitit", "dask": "distributed"}


@dataclass(frozen=True)
class ExecutorChoice:
    """Name who does the work.

    Attributes:
        kind: processes of this machine, SLURM or Dask.
        workers: number of processes on this machine; None: one for each GPU, or for each core with
            ``dask``.
        address: of a Dask scheduler; empty: one of its own, on this machine.
        settings: for submitit, and ``cluster``, ``jobs`` and ``cases``.
        resubmit: how often an item is begun again, if its worker ends every time.
    """

    kind: Kind = "local"
    workers: int | None = 1
    address: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    resubmit: int = RESUBMIT

    @property
    def in_process(self) -> bool:
        """Return True if there is one worker on this machine: then no process is started."""
        return self.kind == "local" and self.worker_count() == 1

    @property
    def elsewhere(self) -> bool:
        """Return True if workers may be on other machines."""
        return self.kind == "slurm" or bool(self.address)

    def worker_count(self) -> int:
        """Return the number of workers on this machine."""
        return len(gpus()) or 1 if self.workers is None else self.workers


def parse_executor(text: str, resubmit: int = RESUBMIT) -> ExecutorChoice:
    """Parse ``local[:N]``, ``slurm[:CONFIG.yaml]`` or ``dask[:ADDRESS]``.

    ``local`` has one worker for each GPU, or one. ``dask`` without an address starts a scheduler
    and workers on this machine; ``dask:N`` starts N of them.

    Args:
        text: the choice.
        resubmit: how often an item is begun again, if its worker ends every time.

    Raises:
        ConfigError: If there is no such engine, its package is not installed, or a number or a file
            cannot be used.
    """
    kind, _, rest = text.partition(":")
    if resubmit < 0:
        raise ConfigError(f"--resubmit {resubmit}", expected="0 or more")
    if package := _PACKAGES.get(kind):
        _require(package, kind)
    if kind == "local":
        return ExecutorChoice("local", _count(rest, text) if rest else None, resubmit=resubmit)
    if kind == "dask":
        if rest.lstrip("-").isdecimal():
            return ExecutorChoice("dask", _count(rest, text), resubmit=resubmit)
        return ExecutorChoice("dask", None, rest.removeprefix("//"), resubmit=resubmit)
    if kind == "slurm":
        return ExecutorChoice("slurm", None, settings=_settings(rest), resubmit=resubmit)
    raise ConfigError(f"--executor {text!r}", expected=FORMS)


def gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    import os

    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() and torch.cuda.is_available()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _count(number: str, text: str) -> int:
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"--executor {text!r}", expected=f"{FORMS}, with N of 1 or more")
    return int(number)


def _require(package: str, kind: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"--executor {kind} without the package {package!r}",
            expected="this package",
            remedy=f"pip install 'monai_semiseg[{kind}]'",
        )


def _settings(file: str) -> dict[str, Any]:
    """Return the settings of a YAML file; none without one."""
    if not file:
        return {}
    import yaml

    expected = "a YAML file with settings of submitit, such as timeout_min: 60"
    try:
        content = yaml.safe_load(Path(file).read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError("cannot be read as YAML", expected=expected, path=file) from error
    if not isinstance(content, dict):
        raise ConfigError("holds no settings", expected=expected, path=file)
    for name in ("jobs", "cases"):
        number = content.get(name, 1)
        if type(number) is not int or number < 1:
            raise ConfigError(f"{name}: {number!r}", expected="1 or more", path=file)
    return content
