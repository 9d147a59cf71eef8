"""Scans that are unlike the others, by size, modality or features, and near duplicates."""

from __future__ import annotations

import numpy as np

from monai_semiseg.datasets.check_report import CaseFacts
from monai_semiseg.datasets.dataset import DatasetCase
from monai_semiseg.labelling.readings import Reading
from monai_semiseg.labelling.set_apart import near_duplicates, outlier_reasons, unlike_reasons


def reading(name: str, extent: float = 40.0, modality: str = "MR", unit: str = "mm") -> Reading:
    size = np.array([[extent] * 3, [1.0] * 3])
    facts = CaseFacts(DatasetCase(name, f"{name}.nii"), size=size, modality=modality)
    facts.unit = unit  # type: ignore[assignment]
    return Reading(facts)


def test_another_modality() -> None:
    """Ask most scans, or the labelled ones alone; pass over files without a modality."""
    scans = [
        *(reading(f"m{n}") for n in range(3)),
        reading("ct", modality="CT"),
        reading("no", modality=""),
    ]
    assert unlike_reasons(scans, []) == {"ct": "unlike the others: modality CT, theirs MR"}
    assert set(unlike_reasons(scans, ["ct"])) == {"m0", "m1", "m2"}
    assert unlike_reasons(scans, ["m0", "ct"]) == {}


def test_another_size() -> None:
    """Go 1.5 times beyond the range of the labelled scans, or of the middle nine tenths."""
    scans = [reading(f"s{n}", 40.0 + n % 5) for n in range(20)] + [reading("large", 70.0)]
    assert set(unlike_reasons(scans, [])) == {"large"}
    assert "70 x 70 x 70 mm" in unlike_reasons(scans, [])["large"]
    assert set(unlike_reasons(scans, ["large"])) == {f"s{n}" for n in range(20)} - {
        f"s{n}" for n in range(20) if 40 + n % 5 >= 70 / 1.5
    }
    pixels = [reading("px", 700.0, unit="px"), *scans]
    assert set(unlike_reasons(pixels, [])) == set()  # sizes in two units say nothing
    assert set(unlike_reasons(pixels, ["s0"])) == {"large"}


def test_outliers_of_features() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 8))
    ids = [f"s{n}" for n in range(41)]
    far = np.concatenate([points, np.full((1, 8), 12.0)])
    (found,) = outlier_reasons(ids, far).items()
    assert found[0] == "s40" and "times as far" in found[1]
    assert outlier_reasons(ids[:40], points) == {}
    assert outlier_reasons(ids[:9], far[-9:]) == {}  # too few to say
    assert outlier_reasons(ids[:20], np.zeros((20, 8))) == {}


def test_chains_of_near_duplicates() -> None:
    """Keep one of three where a is like b and b like c, the one with a label."""
    angles = np.array([0.0, 0.08, 0.16, 1.5])
    rows = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert np.cos(0.16) < 0.995 < np.cos(0.08)
    ids = ["a", "b", "c", "d"]
    assert near_duplicates(ids, rows, []) == {"b": "a", "c": "a"}
    assert near_duplicates(ids, rows, ["c"]) == {"a": "c", "b": "c"}
    assert near_duplicates(ids, rows, ["a", "c"]) == {"b": "a"}
