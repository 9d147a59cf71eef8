"""One cell of a study: split, plan, train and evaluate in processes of their own; finished or resumable at any time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semiseg.bundles.command import bundle_command
from monai_semiseg.datasets.dataset import ScanDataset, open_dataset
from monai_semiseg.datasets.fingerprint import measure
from monai_semiseg.datasets.grids import without_misfits
from monai_semiseg.datasets.plan import decisions, plan, write_plan
from monai_semiseg.datasets.split import split, write_datalist
from monai_semiseg.errors import ConfigError
from monai_semiseg.storage.files import sha256_of, write_atomically
from monai_semiseg.study.grid import Cell, Grid, Stage
from monai_semiseg.study.provenance import UNKNOWN


@dataclass(frozen=True)
class Job:
    """A cell with its files.

    Attributes:
        cell: what is run.
        folder: of the cell.
        datalist: who is labelled; shared by all arms of this budget and seed.
        plan: measured on that datalist's training scans; shared likewise.
        iterations: budget.
        dataset: folder of the dataset.
        device: ``auto``, ``cpu`` or ``cuda:N``; not part of what identifies a cell.
    """

    cell: Cell
    folder: Path
    datalist: Path
    plan: Path
    iterations: int
    dataset: Path
    device: str

    def commands(self) -> list[list[str]]:
        """Pretraining and training that were not taken over, and evaluation, as ``monai.bundle run`` calls."""
        arm, where = self.cell.arm, {"dataset_dir": self.dataset, "datalist": self.datalist}
        starts: dict[str, Path] = (
            {} if arm.initialisation is None else {"init_weights": arm.initialisation}
        )
        calls = []
        for number, stage in enumerate(arm.stages, 1):
            folder, config = self._stage_folder(number), stage.bundle / "configs" / stage.config
            settings = {**self._training(folder, _known(config, starts)), **stage.settings}
            if not (folder / "adopted.txt").is_file():
                calls.append(self._call(config, stage.overlays, settings))
            starts[stage.hands_to] = folder / "model.pt"
        begin = _known(arm.bundle / "configs" / "train.json", starts)
        train = {
            **self._training(self.folder, begin),
            "iterations": self.iterations,
            **arm.settings,
        }
        scores = {
            **where,
            "ckpt_path": self.folder / "model.pt",
            "output_dir": self.folder / "test",
        }
        known = ConfigParser.load_config_file(arm.bundle / "configs" / "evaluate.json")
        scores.update(
            {key: value for key, value in arm.settings.items() if key.split("#")[0] in known}
        )
        configs = arm.bundle / "configs"
        if (self.folder / "adopted.txt").is_file():
            calls = []
        else:
            calls.append(self._call(configs / "train.json", arm.overlays, train))
        return [*calls, self._call(configs / "evaluate.json", arm.evaluate_overlays, scores)]

    def adopt(self, others: Sequence[Job]) -> None:
        """Take over what a finished cell has trained with the same split, seed and settings.

        That is the whole training of an arm that only predicts in another way, else pretraining.

        Args:
            others: cells of the study.
        """
        if (self.folder / "learning_curve.csv").exists():
            return
        twin = next(
            (job for job in others if job._trained() == self._trained() and job._has("model.pt")),
            None,
        )
        if twin is None:
            self._adopt_stages(others)
            return
        # Only once the weights are whole does anything say that there is nothing left to train.
        _copy_weights(twin.folder, self.folder)
        write_atomically(self.folder / "adopted.txt", f"{twin.cell.id}\n")
        shutil.copy2(twin.folder / "learning_curve.csv", self.folder / "learning_curve.csv")

    def waits_for(self, other: Job) -> bool:
        """Whether another cell that runs trains something that this one could take over."""
        first, theirs = self.cell.arm, other.cell.arm
        split = (self.cell.labelled, self.cell.seed) == (other.cell.labelled, other.cell.seed)
        staged = (
            first.stages[:1] == theirs.stages[:1] and first.initialisation == theirs.initialisation
        )
        return split and ((staged and bool(first.stages)) or self._trained() == other._trained())

    def _adopt_stages(self, others: Sequence[Job]) -> None:
        for number in range(1, len(self.cell.arm.stages) + 1):
            folder = self._stage_folder(number)
            if folder.exists():
                continue
            mine = self._chain(number)
            made = f"stage_{number}/model.pt"
            donor = next(
                (job for job in others if job._chain(number) == mine and job._has(made)), None
            )
            if donor is None:
                return
            folder.mkdir(parents=True)
            _copy_weights(donor._stage_folder(number), folder)
            write_atomically(folder / "adopted.txt", f"{donor.cell.id}\n")

    def _has(self, name: str) -> bool:
        """Whether it is finished and kept a file; of a cell that is known from elsewhere there are scores only."""
        return self.done and (self.folder / name).is_file()

    def _stage_folder(self, number: int) -> Path:
        return self.folder / f"stage_{number}"

    def _chain(self, number: int) -> list[Any] | None:
        """What the weights of a stage depend on; None if there is no such stage."""
        arm = self.cell.arm
        if number > len(arm.stages):
            return None
        begin = arm.initialisation and sha256_of(arm.initialisation)
        return [
            self.cell.labelled,
            self.cell.seed,
            begin,
            *map(_stage_identity, arm.stages[:number]),
        ]

    def _trained(self) -> Cell:
        """The cell as far as its weights depend on it."""
        return replace(self.cell, arm=replace(self.cell.arm, name="", evaluate_overlays=()))

    def _training(self, folder: Path, begin: Mapping[str, Path]) -> dict[str, Any]:
        """Settings of every step that trains."""
        return {
            "dataset_dir": self.dataset,
            "datalist": self.datalist,
            "ckpt_dir": folder,
            "output_dir": folder,
            "seed": self.cell.seed,
            **begin,
            "resume": True,
        }

    def _call(
        self, config: Path, overlays: Sequence[Path], settings: Mapping[str, Any]
    ) -> list[str]:
        # Overlays come last: one that asks for another patch than the plan's was asked for by name.
        if self.device != "auto":
            settings = {**settings, "device": f"$torch.device('{self.device}')"}
        return bundle_command(config.resolve(), [self.plan, *overlays], settings)

    def identity(self) -> dict[str, Any]:
        """What makes a result this cell's: budget, seed, settings, and the content of every file that it reads."""
        arm = self.cell.arm
        configs = [arm.bundle / "configs" / f"{name}.json" for name in ("train", "evaluate")]
        return {
            "arm": arm.name,
            "labelled": self.cell.labelled,
            "seed": self.cell.seed,
            "iterations": self.iterations,
            "settings": dict(arm.settings),
            "initialisation": arm.initialisation and sha256_of(arm.initialisation),
            "configs": {
                file.name: sha256_of(file)
                for file in (*configs, *arm.overlays, *arm.evaluate_overlays)
            },
            **({"stages": [_stage_identity(stage) for stage in arm.stages]} if arm.stages else {}),
            "datalist": sha256_of(self.datalist),
            "plan": sha256_of(self.plan),
        }

    def digest(self) -> str:
        """Hash of :meth:`identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return (self.folder / "cell.json").is_file()

    def claim(self) -> None:
        """Note what the folder is for, before anything is written into it.

        Raises:
            ConfigError: If it holds another cell's work.
        """
        note, digest = self.folder / "identity.json", self.digest()
        if note.is_file() and json.loads(note.read_text())["digest"] != digest:
            raise ConfigError(
                "was run with other configs, data or settings",
                expected="the same ones: results of different runs are not mixed",
                remedy="choose another --output, or remove this folder to run the cell again",
                path=self.folder,
            )
        write_atomically(
            note, json.dumps({"digest": digest, **self.identity()}, indent=1, default=str) + "\n"
        )

    def begin(self, code: str) -> None:
        """Note the code that begins with the cell or goes on with it, beside all that did before."""
        write_atomically(self.folder / "code.txt", "\n".join(sorted({*self._codes(), code})) + "\n")

    def _codes(self) -> list[str]:
        note = self.folder / "code.txt"
        if note.is_file():
            return note.read_text().split("\n")[:-1]
        return [UNKNOWN] if (self.folder / "log.txt").exists() else []

    def finish(self, pace: float | None = None) -> None:
        """Mark the cell as finished; the last thing that is written.

        Args:
            pace: seconds that an iteration took, all else included; None if that is not known.
        """
        hashes = {name: sha256_of(self.folder / name) for name in ("model.pt", "test/metrics.csv")}
        note = {
            "digest": self.digest(),
            "code": " + ".join(self._codes()),
            **hashes,
            "seconds_per_iteration": pace,
        }
        write_atomically(self.folder / "cell.json", json.dumps(note, indent=1) + "\n")

    def outcome(self) -> dict[str, Any]:
        """What :meth:`finish` wrote."""
        note: dict[str, Any] = json.loads((self.folder / "cell.json").read_text())
        return note

    def progress(self) -> int:
        """Iterations that are done."""
        if self.done:
            return self.iterations
        try:
            with (self.folder / "learning_curve.csv").open() as stream:
                return max((int(row["iteration"]) for row in csv.DictReader(stream)), default=0)
        except (OSError, ValueError, KeyError):
            return 0


def _copy_weights(source: Path, folder: Path) -> None:
    """Weights, behind the record of what they were trained with, where there is one."""
    for name in ("model.json", "model.pt"):
        if (source / name).is_file():
            shutil.copy2(source / name, folder / name)


def _known(config: Path, starts: Mapping[str, Path]) -> dict[str, Path]:
    """Weights that this step has a use for."""
    return {
        key: path for key, path in starts.items() if key in ConfigParser.load_config_file(config)
    }


def _stage_identity(stage: Stage) -> dict[str, Any]:
    files = (stage.bundle / "configs" / stage.config, *stage.overlays)
    into = {} if stage.hands_to == "init_weights" else {"hands_to": stage.hands_to}
    return {
        "configs": {file.name: sha256_of(file) for file in files},
        "settings": dict(stage.settings),
        **into,
    }


def prepare_jobs(
    grid: Grid, cells: list[Cell], *, device: str = "auto", dataset: ScanDataset | None = None
) -> list[Job]:
    """Write one datalist and one plan for every budget and seed, and return the cells with their files.

    The same grid writes the same bytes, so shards on several machines may do this at the same time.

    Args:
        grid: the study.
        cells: some of its cells.
        device: that cells run on.
        dataset: sound cases of the grid's dataset; None looks for them.
    """
    jobs: list[Job] = []
    if dataset is None:
        dataset, _ = without_misfits(open_dataset(grid.dataset))
    for cell in cells:
        folder = grid.output / "splits" / f"{cell.labelled}_labelled__seed_{cell.seed}"
        if not (folder / "plan.yaml").is_file():
            content = split(dataset, labelled=cell.labelled, test=grid.test, seed=cell.seed)
            write_datalist(content, folder / "datalist.json")
            # Half of an assumed 8 GiB: a plan must not depend on how much memory happens to be
            # free.
            found = measure(dataset, content, progress=False)
            write_plan(
                plan(found, memory=4 << 30),
                folder / "plan.yaml",
                source=grid.dataset.name,
                decided=decisions(found),
            )
        jobs.append(
            Job(
                cell,
                grid.output / "cells" / cell.id,
                folder / "datalist.json",
                folder / "plan.yaml",
                grid.iterations,
                grid.dataset,
                device,
            )
        )
    return jobs


def seconds_left(jobs: Sequence[Job]) -> float | None:
    """What the unfinished cells will take one after the other, by the pace of finished ones; None without any."""
    known = {job.cell.arm.name: [] for job in jobs}  # type: dict[str, list[float]]
    for job in jobs:
        if job.done and (pace := job.outcome().get("seconds_per_iteration")) is not None:
            known[job.cell.arm.name].append(pace)
    paces = [pace for of_arm in known.values() for pace in of_arm]
    if not paces:
        return None
    usual = {arm: sum(of_arm or paces) / len(of_arm or paces) for arm, of_arm in known.items()}
    return sum(usual[job.cell.arm.name] * (job.iterations - job.progress()) for job in jobs)


def child_environment(jobs: int) -> dict[str, str]:
    """Environment of a cell's processes: the cores are shared out, unless OMP_NUM_THREADS says otherwise."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
