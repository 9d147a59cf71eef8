"""A bad case does not end an evaluation: it is left out and named, and the others are scored."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Lambdad

from monai_semiseg.errors import LabelError
from monai_semiseg.evaluation.cases import CaseDataset, CaseEvaluator, FailedCase, failed_cases

ITEMS = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz"} for n in range(4)]


def load(name: str) -> torch.Tensor:
    number = int(Path(name).name[0])
    if number == 1:
        raise LabelError("label values [255.0]", expected="0 to 2", path=name)
    return torch.full((1, 2, 2, 2), float(number))


def loader(workers: int = 0) -> DataLoader:
    transform = Compose([Lambdad(["image", "label"], load)])
    return DataLoader(CaseDataset(ITEMS, transform), batch_size=1, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_case_comes_once_the_bad_one_with_its_reason(workers: int) -> None:
    batches = list(loader(workers))
    assert [float(b["image"].mean()) for b in batches if "image" in b] == [0, 2, 3]
    (failed,) = itertools.chain.from_iterable(map(failed_cases, batches))
    assert (failed.case, failed.code) == ("labels/1.nii.gz", "E_LABEL")
    assert failed.reason.startswith("E_LABEL images/1.nii.gz: label values [255.0]")


def test_a_bad_case_of_several_label_files_is_named_by_the_first() -> None:
    item = {"image": "images/1.nii.gz", "label": ["labels/1_a.png", "labels/1_b.png"]}
    (failed,) = failed_cases(
        next(iter(DataLoader(CaseDataset([item], Compose([Lambdad("image", load)])), batch_size=1)))
    )
    assert (failed.case, failed.code) == ("labels/1_a.png", "E_LABEL")


def test_the_network_sees_the_others() -> None:
    seen: list[float] = []

    class Network(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(float(image.mean()))
            return image

    CaseEvaluator(torch.device("cpu"), loader(), Network()).run()
    assert seen == [0, 2, 3]


def test_an_output_that_is_not_finite_is_no_background() -> None:
    """Check that the case fails by name, as it does in predict, and does not score 0."""

    class Network(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.where(image == 2, torch.nan, image)

    scored: list[Any] = []
    failed: list[FailedCase] = []
    evaluator = CaseEvaluator(torch.device("cpu"), named_loader(), Network())

    def keep(engine: Any) -> None:
        scored.extend(engine.state.output)
        failed.extend(failed_cases(engine.state.batch))

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, keep)
    evaluator.run()
    assert len(scored) == 2
    assert [(one.case, one.code) for one in failed] == [
        ("labels/1.nii.gz", "E_LABEL"),
        ("labels/2.nii.gz", "E_NONFINITE"),
    ]
    assert failed[1].reason.startswith("E_NONFINITE images/2.nii.gz: the network's output holds")


def named_loader() -> DataLoader:
    """Return a loader of images and labels that know their files."""

    def named(name: str) -> MetaTensor:
        return MetaTensor(load(name), meta={"filename_or_obj": name})

    transform = Compose([Lambdad(["image", "label"], named)])
    return DataLoader(CaseDataset(ITEMS, transform), batch_size=1)


def test_what_is_no_fault_of_the_data_is_raised() -> None:
    def broken(_: Any) -> Any:
        raise TypeError("a mistake in the code")

    dataset = CaseDataset(ITEMS, Compose([Lambdad("image", broken)]))
    with pytest.raises(RuntimeError) as caught:
        dataset[0]
    assert "a mistake in the code" in str(caught.value.__cause__)


def test_a_sound_batch_has_no_failed_case() -> None:
    assert failed_cases([{"image": torch.zeros(1)}]) == []
    assert failed_cases({"image": torch.zeros(1)}) == []
    bad = {"failed": {"case": ["a"], "code": ["E_X"], "reason": ["r"]}}
    assert failed_cases(bad) == [FailedCase("a", "E_X", "r")]
