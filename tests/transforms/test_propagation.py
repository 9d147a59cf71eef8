"""Labels propagated by registration: quality, formula, geometry, and the cache on disk."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialPad
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from monai_semiseg.errors import ConfigError, GeometryError
from monai_semiseg.transforms.atlas import MultiAtlas
from monai_semiseg.transforms.propagation import PropagateLabelsd
from monai_semiseg.transforms.registration import DemonsRegistration, as_itk, warp


def scene(
    shape: tuple[int, ...], moved: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of two bright structures and its labels, deformed by ``moved`` voxels."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij"))
    for axis in range(len(shape)):
        wave = gaussian_filter(rng.normal(size=shape), 6.0)
        grid[axis] += moved * wave / np.abs(wave).max()
    middle = [(n - 1) / 2 for n in shape]
    radius = np.sqrt(
        sum(((g - m) / (0.3 * n)) ** 2 for g, m, n in zip(grid, middle, shape, strict=True))
    )
    label = np.where(radius < 1, np.where(grid[0] < middle[0], 1, 2), 0)
    texture = gaussian_filter(np.random.default_rng(99).normal(size=shape), 1.5)
    image = label * 1.0 + 3 * map_coordinates(texture, grid, order=1, mode="nearest")
    noise = gaussian_filter(rng.normal(size=shape), 0.7)
    return ((image - image.mean()) / image.std() + 0.1 * noise).astype(np.float32), label.astype(
        np.int64
    )


def item(
    image: np.ndarray, label: np.ndarray | None = None, spacing: float = 1.0
) -> dict[str, Any]:
    affine = torch.diag(torch.tensor([*[spacing] * 3, 1.0], dtype=torch.float64))
    found: dict[str, Any] = {"image": MetaTensor(torch.from_numpy(image)[None], affine=affine)}
    return (
        found
        if label is None
        else {**found, "label": MetaTensor(torch.from_numpy(label)[None], affine=affine)}
    )


def dice(found: np.ndarray, label: np.ndarray) -> float:
    scores = [
        2 * ((found == c) & (label == c)).sum() / ((found == c).sum() + (label == c).sum())
        for c in (1, 2)
    ]
    return float(np.mean(scores))


def decided(soft: Tensor) -> np.ndarray:
    return np.asarray(torch.cat([1 - soft.sum(0, keepdim=True), soft]).argmax(0))


def with_atlases(shape: tuple[int, ...], count: int = 2, **settings: Any) -> PropagateLabelsd:
    atlases = [item(*scene(shape, 4.0, seed)) for seed in range(1, 1 + count)]
    return PropagateLabelsd("image", atlases, 3, **settings)


@pytest.mark.parametrize("shape", [(32, 36, 28), (48, 56), (48, 56, 1)], ids=str)
def test_labels_follow_the_anatomy(shape: tuple[int, ...]) -> None:
    """Expect more than from an atlas without registration, and no other change of the item."""
    kept = tuple(n for n in shape if n > 1)
    atlases = [
        item(image.reshape(shape), label.reshape(shape))
        for image, label in (scene(kept, 4.0, s) for s in (1, 2))
    ]
    image, label = (array.reshape(shape) for array in scene(kept, 4.0, 7))
    data = item(image)
    out = PropagateLabelsd("image", atlases, 3)(data)
    soft = out["propagated"]
    assert soft.shape == (2, *shape) and soft.dtype == torch.float32 and set(data) == {"image"}
    assert float(soft.min()) >= 0 and float(soft.sum(0).max()) < 1.001
    as_is = max(dice(np.asarray(atlas["label"][0]), label) for atlas in atlases)
    assert dice(decided(soft), label) > max(0.9, as_is + 0.05)
    assert torch.equal(out["image"], data["image"])


def test_fusion_is_the_formula() -> None:
    shape = (20, 24, 18)
    model = with_atlases(shape).multi_atlas
    image, _ = scene(shape, 4.0, 7)
    found = model.propagate(image, [1.0] * 3)
    fixed = as_itk(image, [1.0] * 3)
    method = DemonsRegistration()
    laid = []
    for atlas in model.items:
        moving = as_itk(np.asarray(atlas["image"][0]), [1.0] * 3)
        chain = method.deformable(fixed, moving, method.affine(fixed, moving)[0])
        hot = [
            warp(as_itk(np.asarray(atlas["label"][0]) == c, [1.0] * 3), fixed, chain)
            for c in (1, 2)
        ]
        laid.append((gaussian_filter((warp(moving, fixed, chain) - image) ** 2, 2.0), hot))
    for voxel in itertools.product(*(range(0, n, 5) for n in shape)):
        weights = [1 / (error[voxel] + 0.02) ** 2 for error, _ in laid]
        for c in range(2):
            slow = sum(w * hot[c][voxel] for w, (_, hot) in zip(weights, laid, strict=True)) / sum(
                weights
            )
            assert found[c][voxel] == pytest.approx(float(slow), abs=1e-5)


def test_a_scan_that_is_an_atlas_gets_its_labels() -> None:
    image, label = scene((24, 28, 20), 4.0, 1)
    soft = PropagateLabelsd("image", [item(image, label)], 3)(item(image))["propagated"]
    assert dice(decided(soft), label) > 0.99


def test_distances_are_in_millimetres() -> None:
    """Register an atlas with voxels of twice the size."""
    image, label = scene((32, 36, 28))
    coarse = item(image[::2, ::2, ::2], label[::2, ::2, ::2], spacing=2.0)
    soft = PropagateLabelsd("image", [coarse], 3)(item(image))["propagated"]
    assert dice(decided(soft), label) > 0.85


def test_padding_changes_nothing() -> None:
    shape = (20, 24, 18)
    pad = SpatialPad([40, 40, 40])
    plain = with_atlases(shape)
    atlases = [
        {key: pad(value) for key, value in atlas.items()} for atlas in plain.multi_atlas.items
    ]
    padded = PropagateLabelsd("image", atlases, 3)
    data = item(scene(shape, 4.0, 7)[0])
    soft = padded({"image": pad(data["image"])})["propagated"]
    assert torch.equal(soft.as_tensor(), pad(plain(data)["propagated"]).as_tensor())


def test_a_blank_scan_gets_background() -> None:
    soft = with_atlases((12, 12, 12))(item(np.zeros((12, 12, 12), np.float32)))["propagated"]
    assert soft.shape == (2, 12, 12, 12) and not soft.any()


def test_a_scan_too_large_for_the_atlases_is_refused() -> None:
    """Compare extents in millimetres, without padding."""
    transform = with_atlases((20, 20, 20))
    large = item(scene((45, 45, 32))[0])
    small = item(scene((45, 45, 32))[0], spacing=0.5)
    large["image"].meta["filename_or_obj"] = "head.nii"
    with pytest.raises(
        GeometryError, match="45 x 45 x 32 mm, labelled scans of at most 20 x 20 x 20 mm"
    ) as caught:
        transform(large)
    assert "head.nii" in str(caught.value)
    large["image"].meta["unit"] = "px"
    with pytest.raises(GeometryError, match="45 x 45 x 32 px, labelled scans of at most 20 x"):
        transform(large)
    assert transform(small)["propagated"].shape == (2, 45, 45, 32)
    padded = SpatialPad((64, 64, 64))(item(scene((20, 20, 20))[0])["image"])
    assert transform({"image": padded})["propagated"].shape == (2, 64, 64, 64)


def test_only_the_best_atlases_are_registered() -> None:
    shape = (24, 28, 20)
    image, label = scene(shape, 4.0, 7)
    rng = np.random.default_rng(3)
    unlike = item(rng.normal(size=shape).astype(np.float32), rng.integers(0, 3, shape))
    both = PropagateLabelsd("image", [unlike, item(image, label)], 3, max_atlases=1)(item(image))[
        "propagated"
    ]
    assert dice(decided(both), label) > 0.99


def test_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reuse a result for equal voxels, and not for another scan, atlas or setting."""
    shape = (16, 16, 16)
    data = item(scene(shape, 2.0, 7)[0])
    first = with_atlases(shape, cache_dir=str(tmp_path))(data)["propagated"]
    assert len(list(tmp_path.iterdir())) == 1
    again = with_atlases(shape, cache_dir=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(MultiAtlas, "propagate", lambda *_: pytest.fail("registered again"))
        assert torch.equal(again(data)["propagated"], first)
    nowhere = with_atlases(shape)(data)["propagated"]
    assert torch.equal(nowhere, first)
    for other in (
        with_atlases(shape, 3, cache_dir=str(tmp_path)),
        with_atlases(shape, cache_dir=str(tmp_path), window=3.0),
    ):
        other(data)
    again(item(scene(shape, 2.0, 8)[0]))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "wrong",
    [{"keys": ["image", "second"]}, {"out_channels": 1}, {"max_atlases": 0}, {"atlases": []}],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PropagateLabelsd(
            **{"keys": "image", "atlases": [item(*scene((8, 8, 8)))], "out_channels": 3, **wrong}
        )


@pytest.mark.parametrize("alike", [True, False])
def test_says_how_well_it_serves(alike: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Log the Dice between labelled scans before the first scan, with a warning if it is low."""
    shape = (20, 24, 18)
    rng = np.random.default_rng(0)
    strange = [
        item(rng.normal(size=shape).astype(np.float32), rng.integers(0, 3, shape)) for _ in range(2)
    ]
    transform = with_atlases(shape) if alike else PropagateLabelsd("image", strange, 3)
    with caplog.at_level("INFO"):
        for seed in (7, 8):
            transform(item(scene(shape, 4.0, seed)[0]))
    said = [record for record in caplog.records if "left out" in record.message]
    assert len(said) == 1 and ("W_PROPAGATION" in caplog.text) is not alike
    a, b = transform.multi_atlas.items
    labels = [np.asarray(atlas["label"][0]) for atlas in (a, b)]
    pairs = [
        (PropagateLabelsd("image", [one], 3)(other)["propagated"], label)
        for one, other, label in ((b, a, labels[0]), (a, b, labels[1]))
    ]
    slow = np.mean([dice(decided(soft), label) for soft, label in pairs])
    assert np.mean(transform.multi_atlas.leave_one_out()) == pytest.approx(slow, abs=2e-3)


def test_one_atlas_cannot_be_left_out() -> None:
    transform = PropagateLabelsd("image", [item(*scene((12, 12, 12)))], 3)
    assert transform.multi_atlas.leave_one_out() == []


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    data = item(scene((16, 16, 16), 2.0, 7)[0])
    first = with_atlases((16, 16, 16), cache_dir=str(tmp_path))(data)["propagated"]
    (file,) = tmp_path.iterdir()
    for content in (b"", b"no tensor", file.read_bytes()[:200]):
        file.write_bytes(content)
        assert torch.equal(
            with_atlases((16, 16, 16), cache_dir=str(tmp_path))(data)["propagated"], first
        )
    assert torch.load(file, weights_only=True).dtype == torch.float16


def test_the_number_of_threads_does_not_matter() -> None:
    data = item(scene((24, 28, 20), 4.0, 7)[0])
    found = []
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    for threads in (1, 4):
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        found.append(with_atlases((24, 28, 20))(data)["propagated"])
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert torch.equal(*found)


def test_an_atlas_gives_no_vote_where_its_label_is_ignored() -> None:
    """Check that one of two atlases ignores a half: there, labels are the other's.

    In doubt, they mix.
    """
    shape = (20, 24, 18)
    atlases = [item(*scene(shape, 4.0, seed)) for seed in (1, 2)]
    image, _ = scene(shape, 4.0, 7)
    alone = MultiAtlas(atlases[1:], "image", "label", 3, 5, 2.0, 0.02, DemonsRegistration())
    both = MultiAtlas(atlases, "image", "label", 3, 5, 2.0, 0.02, DemonsRegistration())
    second, complete = (model.propagate(image, [1.0] * 3) for model in (alone, both))
    atlases[0]["label"] = atlases[0]["label"].clone()
    atlases[0]["label"][:, :10] = -1
    partial = MultiAtlas(atlases, "image", "label", 3, 5, 2.0, 0.02, DemonsRegistration())
    found = partial.propagate(image, [1.0] * 3)
    np.testing.assert_allclose(found[:, :5], second[:, :5], atol=1e-5)
    np.testing.assert_array_equal(found[:, 15:], complete[:, 15:])
    assert np.abs(complete[:, :5] - second[:, :5]).max() > 0.1
    assert partial.identity != both.identity
    assert all(math.isfinite(score) for score in partial.leave_one_out())


def test_where_no_atlas_knows_a_label_nothing_is_propagated() -> None:
    shape = (20, 24, 18)
    image, label = scene(shape, 4.0, 1)
    marked = label.copy()
    marked[:10] = -1
    soft = PropagateLabelsd("image", [item(image, marked)], 3)(item(image))["propagated"]
    assert soft[:, :9].isnan().all() and not soft[:, 11:].isnan().any()
    assert (decided(soft)[11:] == label[11:]).mean() > 0.99
