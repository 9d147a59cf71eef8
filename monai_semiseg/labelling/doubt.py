"""Doubt of a trained model about scans: its entropy, and its difference to registered labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import Tensor
from tqdm import tqdm

from monai_semiseg.bundles.locate import bundle_folder
from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.datasets.dataset import DatasetCase
from monai_semiseg.handlers.precision import autocast, autocast_type
from monai_semiseg.images.volume import collect_warnings
from monai_semiseg.inference.case_errors import CASE_ERRORS, reason_of
from monai_semiseg.labelling.encoders import network_of
from monai_semiseg.networks.nnunet_settings import refuse_other_steps
from monai_semiseg.transforms.labels import with_background

_MAY_BE_FOREGROUND = 0.05

asking = partial(tqdm, desc="Asking the model", unit="scan", disable=None)  # its progress bar


def region_entropy(probabilities: Tensor) -> float:
    """Return the mean entropy where there may be foreground, divided by ``ln classes``: 0 to 1.

    ``H = -sum_c p_c ln p_c / ln C``, averaged over the voxels with at least 5 % foreground. A mean
    over the whole image would say how large the structure is. Without such a voxel it is over all.

    Args:
        probabilities: ``(classes, spatial...)``, the background first.
    """
    entropy = torch.special.entr(probabilities.double()).sum(0)
    region = probabilities[0] < 1 - _MAY_BE_FOREGROUND
    inside = entropy[region] if region.any() else entropy
    return float(inside.mean() / torch.tensor(float(len(probabilities))).log())


def disagreement(probabilities: Tensor, propagated: Tensor) -> float:
    """Return 1 minus the mean foreground Dice of a network's labels and registered ones.

    Args:
        probabilities: ``(classes, spatial...)``.
        propagated: ``(classes - 1, spatial...)``; NaN is unknown, and not compared.
    """
    registered = with_background(propagated[None])
    unknown = registered.isnan().any(1, keepdim=True)
    masks = (
        one_hot(found.argmax(1, keepdim=True).masked_fill(unknown, 0), found.shape[1])
        for found in (probabilities[None], registered)
    )
    dice = compute_dice(*masks, include_background=False, ignore_empty=False)
    return 1 - float(dice.mean())


class Uncertainty:
    """Ask a trained model how uncertain it is about scans: :func:`region_entropy`.

    Args:
        bundle: bundle folder.
        settings: overrides of keys of its inference config.
        overlays: configs that are merged over it.
        root: folder that the cases' files are relative to.

    Raises:
        ConfigError: If the bundle or a key is unknown.
        CheckpointError: If the weights do not fit.
    """

    def __init__(
        self, bundle: Path, settings: Mapping[str, Any], overlays: Sequence[Path], root: Path
    ) -> None:
        workflow = open_workflow(bundle, "inference", dict(settings), overlays)
        self.root = root
        get = workflow.parser.get_parsed_content
        self.network = network_of(workflow, strict=True)
        self.preprocessing = get("preprocessing")
        self.inferer = get("inferer")
        self.device: torch.device = get("device")
        self.precision = autocast_type(get("autocast_dtype"), self.device)

    def __call__(self, cases: Sequence[DatasetCase]) -> dict[str, float | str]:
        """Return the doubt about each case, or the reason why it has none."""
        answers = asking(self.each(cases), total=len(cases))
        return {case.id: answer for case, answer in zip(cases, answers, strict=True)}

    def each(self, cases: Sequence[DatasetCase]) -> Iterator[float | str]:
        """Yield the doubt about each case in order, or the reason why it has none."""
        for case in cases:
            try:
                with collect_warnings(), torch.inference_mode():
                    doubt: float | str = self._ask(case)
            except CASE_ERRORS as error:
                doubt = reason_of(error)
            yield doubt

    def _ask(self, case: DatasetCase) -> float:
        files = [str(path) for path in case.image_paths(self.root)]
        item = self.preprocessing({"image": files[0] if len(files) == 1 else files})
        with autocast(self.device, self.precision):
            logits = self.inferer(item["image"][None].to(self.device), self.network)
        return self.measure(torch.softmax(torch.as_tensor(logits)[0].float(), 0).cpu(), item)

    def measure(self, probabilities: Tensor, item: Mapping[str, Any]) -> float:
        """Return the doubt from the network's probabilities of a preprocessed item."""
        return region_entropy(probabilities)


class Disagreement(Uncertainty):
    """Compare a trained model with labels that registration carries over: :func:`disagreement`.

    A network trained on few labels and a registration of the same labels make different errors:
    where they differ, one of them is wrong, and a label would tell which.

    Args:
        bundle: bundle folder.
        settings: overrides of keys of its inference config.
        overlays: configs that are merged over it.
        root: folder that the cases' and the datalist's files are relative to.
        datalist: with the labelled scans.

    Raises:
        ConfigError: If nnU-Net's plans decide the model's steps, so that labels cannot be added.
    """

    def __init__(
        self,
        bundle: Path,
        settings: Mapping[str, Any],
        overlays: Sequence[Path],
        root: Path,
        datalist: Path,
    ) -> None:
        fusion = bundle_folder("semisupervised_baselines") / "configs" / "label_fusion.yaml"
        refuse_other_steps([fusion], settings)
        where = {"labelled_dir": str(root), "datalist": str(datalist)}
        super().__init__(bundle, {**settings, **where}, [*overlays, fusion], root)

    def measure(self, probabilities: Tensor, item: Mapping[str, Any]) -> float:
        """Return the doubt from the network's probabilities and the propagated labels."""
        return disagreement(probabilities, torch.as_tensor(item["propagated"]))
