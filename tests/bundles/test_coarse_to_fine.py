"""``coarse_to_fine.yaml`` over the configs of every bundle that predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_semiseg.bundles.workflow import open_workflow, run_workflow
from monai_semiseg.inferers.coarse_to_fine import CoarseToFineInferer

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = ROOT / "bundles" / "semisupervised_baselines" / "configs" / "coarse_to_fine.yaml"
SCAN = ROOT / "sample_data" / "scans" / "oblique.nii.gz"
Settings = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("stage", ["evaluate", "inference"])
def test_both_passes_are_the_bundles(bundle: Path, stage: str) -> None:
    workflow = open_workflow(bundle, stage, {"coarse_margin": 3, "overlap": 0.25}, [OVERLAY])
    inferer = workflow.parser.get_parsed_content("inferer")
    plain = open_workflow(bundle, stage).parser.get_parsed_content("inferer")
    assert isinstance(inferer, CoarseToFineInferer) and inferer.margin == 3
    assert inferer.inferer.flips == plain.flips
    assert inferer.inferer.inferer.roi_size == plain.inferer.roi_size == inferer.coarse.roi_size
    assert (inferer.coarse.overlap, inferer.inferer.inferer.overlap) == (0.0, 0.25)


# The configs are those of every bundle, by the test above; the weights of two stand for all.
@pytest.mark.parametrize("name", ["semisupervised_baselines", "diffusion_cotrainer"])
def test_masks_of_scans_as_large_as_the_organ_do_not_change(name: str, tmp_path: Path) -> None:
    masks = []
    for folder, overlays in (("plain", []), ("coarse", [OVERLAY])):
        asked = {"dataset_dir": str(SCAN), "output_dir": str(tmp_path / folder), "preview": False}
        run_workflow(ROOT / "bundles" / name, "inference", asked, overlays)
        (file,) = (tmp_path / folder).glob("*_seg.nii.gz")
        masks.append(np.asanyarray(nib.load(file).dataobj))
    assert masks[0].any() and np.array_equal(*masks)
