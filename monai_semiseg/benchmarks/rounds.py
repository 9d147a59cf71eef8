"""Rounds of labelling with a labeller who knows the truth: select, propose, correct, train again.

Costs are counted in labels and in voxels that the labeller had to change: of the first labels,
which are drawn from nothing, all voxels of the foreground. Every strategy begins with the same
labels, and is compared with the random choice at an equal number of labels and at equally many
changed voxels.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_semiseg.benchmarks.measure import add_output, write_measured
from monai_semiseg.benchmarks.round_strategies import STRATEGIES, Choice, run_step
from monai_semiseg.benchmarks.round_table import as_markdown, compared
from monai_semiseg.cli import collect, evaluate, propose, split, train
from monai_semiseg.datasets.datalist import load_datalist, write_datalist
from monai_semiseg.datasets.dataset import ScanDataset, case_of, open_dataset
from monai_semiseg.datasets.label_files import read_label
from monai_semiseg.datasets.label_names import label_paths
from monai_semiseg.datasets.label_options import with_label_rule
from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling.collected_case import load_case
from monai_semiseg.labelling.returned import COLLECTED
from monai_semiseg.labelling.simulated import correct_with_truth
from monai_semiseg.labelling.tasks import MANIFEST, load_tasks
from monai_semiseg.storage.files import write_atomically

COLUMNS = ("strategy", "seed", "round", "labels", "corrected_voxels", "dice")


@dataclass(frozen=True)
class Plan:
    """Settings that all rounds share.

    Attributes:
        dataset: folder of the dataset, of whose training cases the truth is known.
        output: folder of the results.
        rounds: number of rounds after the first labels.
        first: first labels, chosen at random.
        each: labels of each round.
        test: test scans, as ``monai-semiseg split`` takes them.
        training: further words for ``monai-semiseg train``.
        device: that all steps run on.
    """

    dataset: Path
    output: Path
    rounds: int
    first: int
    each: int
    test: str = "0.2"
    training: Sequence[str] = ()
    device: str = "auto"

    def opened(self, datalist: Path) -> ScanDataset:
        """Return the dataset, whose label files are read as a split says."""
        return with_label_rule(open_dataset(self.dataset), datalist=load_datalist(datalist))


def simulate(plan: Plan, strategies: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Run all rounds of all strategies; steps that are done are not done again.

    Args:
        plan: settings.
        strategies: names in :data:`STRATEGIES`.
        seeds: of the repetitions: first labels, trainings and random choices.

    Returns:
        A row for each strategy, seed and round, with the columns :data:`COLUMNS`.

    Raises:
        ConfigError: If a strategy is unknown, or a step fails.
    """
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise ConfigError(
            f"strategies {', '.join(unknown)}", expected=f"some of {', '.join(STRATEGIES)}"
        )
    rows = []
    for seed in seeds:
        start = plan.output / f"seed_{seed}" / "start"
        datalist = _first_labels(plan, seed, start)
        cost = _foreground_voxels(plan, datalist)
        first = _trained_row(plan, datalist, start, seed)
        for strategy in strategies:
            rows.append({"strategy": strategy, "round": 0, "corrected_voxels": cost, **first})
            rows += _rounds(plan, strategy, seed, datalist, cost)
    return rows


def _rounds(
    plan: Plan, strategy: str, seed: int, datalist: Path, cost: int
) -> list[dict[str, Any]]:
    """Return the rows of the rounds of one strategy and seed."""
    rows = []
    weights = datalist.parent
    for number in range(1, plan.rounds + 1):
        folder = plan.output / f"seed_{seed}" / strategy / f"round_{number}"
        datalist, changed = _label(plan, strategy, seed, number, datalist, weights, folder)
        cost += changed
        row = _trained_row(plan, datalist, folder, seed)
        rows.append({"strategy": strategy, "round": number, "corrected_voxels": cost, **row})
        weights = folder
    return rows


def _label(
    plan: Plan,
    strategy: str,
    seed: int,
    number: int,
    datalist: Path,
    weights: Path,
    folder: Path,
) -> tuple[Path, int]:
    """Select, propose, correct and collect; return the datalist and the voxels that changed."""
    tasks = folder / "tasks"
    dataset = plan.opened(datalist)
    if not (tasks / MANIFEST).is_file():
        choice = Choice(dataset, datalist, weights, plan.each, seed, number, folder)
        wanted = STRATEGIES[strategy](choice)
        asked = ["--datalist", str(datalist), "--cases", wanted, "--output", str(tasks)]
        asked += ["--weights", str(weights), "--device", plan.device]
        run_step(propose, [str(plan.dataset), *asked])
    correct_with_truth(load_tasks(tasks), dataset)
    run_step(collect, [str(tasks), "--into", str(datalist), "--accept_unchanged"])
    records = sorted((tasks / COLLECTED).glob("*.json"))
    cases = [load_case(record, tasks) for record in records]
    return tasks / "datalist.json", sum(case.changed for case in cases if case is not None)


def _first_labels(plan: Plan, seed: int, folder: Path) -> Path:
    """Return the split with the first labels; images whose label nobody knows are left out."""
    datalist = folder / "datalist.json"
    if not datalist.is_file():
        whole = folder / "split.json"
        asked = ["--labelled", str(plan.first), "--test", plan.test, "--seed", str(seed)]
        asked += ["--validation", "0", "--output", str(whole)]
        run_step(split, [str(plan.dataset), *asked])
        content = load_datalist(whole)
        known = {case.image for case in plan.opened(whole).cases if case.label is not None}
        content["unlabeled"] = [
            entry for entry in content["unlabeled"] if case_of(entry).image in known
        ]
        write_datalist(content, datalist)
    return datalist


def _trained_row(plan: Plan, datalist: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Train and evaluate; return labels, seed and mean Dice over test cases and classes."""
    words = [str(plan.dataset), "--datalist", str(datalist), "--output", str(folder)]
    where = ["--device", plan.device]
    metrics = folder / "test" / "metrics.csv"
    if not metrics.is_file():
        run_step(train, [*words, "--seed", str(seed), "--resume", *where, *plan.training])
        measured = ["--datalist", str(datalist), "--weights", str(folder), *where]
        run_step(evaluate, [str(plan.dataset), *measured, "--output", str(folder / "test")])
    with metrics.open(encoding="utf-8") as stream:
        dice = [float(row["dice"]) for row in csv.DictReader(stream)]
    labels = sum("label" in entry for entry in load_datalist(datalist)["training"])
    return {"seed": seed, "labels": labels, "dice": float(np.mean(dice))}


def _foreground_voxels(plan: Plan, datalist: Path) -> int:
    """Return the voxels of the foreground of the first labels: drawn from nothing."""
    dataset = plan.opened(datalist)
    found = 0
    for entry in load_datalist(datalist)["training"]:
        label = read_label(label_paths(dataset.root, entry["label"]), dataset.label_rule)
        known = list(foreground_of(dataset.labels)) or np.unique(label.array[label.array > 0])
        found += int(np.isin(label.array, known).sum())
    return found


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path, help="dataset folder, all training scans labelled")
    parser.add_argument("--strategies", default="random,doubt", help="names with commas between")
    parser.add_argument("--seeds", default="0,1,2", help="numbers with commas between")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the first labels")
    parser.add_argument("--first", type=int, default=4, help="first labels")
    parser.add_argument("--each", type=int, default=4, help="labels of each round")
    parser.add_argument("--test", default="0.2", help="test scans, as split takes them")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument(
        "--train",
        default="",
        metavar="WORDS",
        help="further words for train, in quotes: --train='--iterations 500 --method mean_teacher'",
    )
    add_output(parser)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run the rounds, write rounds.csv, rounds.json and rounds.md, and print the table."""
    args = _arguments(words)
    plan = Plan(
        args.dataset,
        args.output,
        args.rounds,
        args.first,
        args.each,
        args.test,
        shlex.split(args.train),
        args.device,
    )
    rows = simulate(plan, args.strategies.split(","), list(map(int, args.seeds.split(","))))
    write_measured(
        [{name: row[name] for name in COLUMNS} for row in rows], args.output / "rounds.csv"
    )
    table = compared(rows)
    text = as_markdown(table)
    write_atomically(args.output / "rounds.json", json.dumps(table, indent=1) + "\n")
    write_atomically(args.output / "rounds.md", text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
