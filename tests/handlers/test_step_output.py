"""Output of a step, as our handlers and as MONAI's read it."""

from __future__ import annotations

import torch
from monai.handlers import from_engine

from monai_semiseg.handlers.step_output import StepOutput


def test_by_name_and_as_a_decollated_batch() -> None:
    output = StepOutput({"loss": torch.tensor(2.5), "unlabelled_loss": torch.tensor(1.0)})
    assert float(output["loss"]) == 2.5 and output[0]["unlabelled_loss"] == 1.0 and len(output) == 1
    assert float(from_engine(["loss"], first=True)(output)) == 2.5
    assert [
        float(value) for value in from_engine(["loss", "unlabelled_loss"], first=True)(output)
    ] == [2.5, 1.0]
