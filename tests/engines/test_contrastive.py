"""Contrastive trainers: pairs, learning, and diagnostics."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor

from monai_semiseg.engines.contrastive import ContrastTrainer, SupervisedContrastTrainer
from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer
from monai_semiseg.errors import ConfigError
from monai_semiseg.handlers.embedding_diagnostics import (
    EmbeddingDiagnostics,
    alignment,
    class_similarity,
    measures,
    principal_picture,
    uniformity,
)
from monai_semiseg.losses.contrastive import GlobalContrast, LocalContrast, SelfLocalContrast
from monai_semiseg.networks.embedding import Embedder

SIZE = [32, 32]


def batches(count: int, labels: bool) -> list[dict[str, Tensor]]:
    """Create scans with a bright square, its label, and two noisy views."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        label = torch.zeros(2, 1, *SIZE)
        for one in label[:, 0]:
            x, y = torch.randint(2, 14, (2,), generator=generator).tolist()
            one[x : x + 8, y : y + 8] = 1
            one[x + 8 : x + 14, y : y + 8] = 2
        kind = torch.tensor([1.0, -0.2])[
            :, None, None, None
        ]  # two kinds of scan, for the global contrast
        views = [
            2.0 * (label == 1)
            - 2.0 * kind * (label == 2)
            + 0.3 * torch.randn(label.shape, generator=generator)
            for _ in range(2)
        ]
        batch = {"image": views[0], "second": views[1]}
        found.append({**batch, "label": label, "second_label": label.clone()} if labels else batch)
    return found


def trainer(
    kind: type[ContrastTrainer], loss: Any, pooled: bool, epochs: int = 4, **more: Any
) -> ContrastTrainer:
    torch.manual_seed(2)
    net = BasicUNet(2, 1, 3, (8, 8, 8, 8, 8, 8))
    embedder = Embedder(net, "down_4" if pooled else "upcat_1", 8, 2, pooled, 16)
    return kind(
        device=torch.device("cpu"),
        max_epochs=epochs,
        epoch_length=5,
        train_data_loader=batches(5, kind is SupervisedContrastTrainer),
        network=embedder,
        loss_function=loss,
        optimizer=torch.optim.AdamW(embedder.parameters(), 0.01),
        **more,
    )


CASES = [
    (ContrastTrainer, GlobalContrast(0.5), True),
    (ContrastTrainer, SelfLocalContrast(0.1, 8), False),
    (SupervisedContrastTrainer, LocalContrast(0.1, stride=2), False),
    (SupervisedContrastTrainer, LocalContrast(0.1, block=16), False),
    (SupervisedContrastTrainer, LocalContrast(0.1, "in", anchors=32), False),
]


@pytest.mark.parametrize(("kind", "loss", "pooled"), CASES, ids=lambda v: type(v).__name__)
def test_it_learns_encoder_and_head(kind: type[ContrastTrainer], loss: Any, pooled: bool) -> None:
    from ignite.engine import Events

    engine = trainer(kind, loss, pooled)
    seen = []
    before = {name: value.clone() for name, value in engine.network.state_dict().items()}
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(float(e.state.output["loss"]))
    )
    engine.run()
    assert sum(seen[-5:]) < 0.97 * sum(seen[:5])
    moved = {
        name.removeprefix("network.").split(".")[0]
        for name, value in engine.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert (
        {"head", "conv_0", "down_4"} <= moved
        and ("upcat_1" in moved) == (not pooled)
        and "final_conv" not in moved
    )


def test_labels_follow_their_view() -> None:
    engine = trainer(SupervisedContrastTrainer, LocalContrast(), False, epochs=1)
    batch = batches(1, True)[0]
    batch["second_label"] = torch.zeros_like(batch["label"])
    engine.losses(batch)
    assert engine.labels is not None and engine.labels[:2].any() and not engine.labels[2:].any()


def test_a_batch_without_a_second_view_is_refused() -> None:
    engine = trainer(ContrastTrainer, GlobalContrast(), True)
    with pytest.raises(ConfigError, match="'second'"):
        engine.losses({"image": torch.randn(2, 1, *SIZE)})


def test_diagnostics(tmp_path: Path) -> None:
    look = EmbeddingDiagnostics(str(tmp_path), str(tmp_path / "events"))
    engine = trainer(
        SupervisedContrastTrainer, LocalContrast(0.1, stride=2), False, train_handlers=[look]
    )
    engine.run()
    assert (tmp_path / "embeddings.png").read_bytes()[:4] == b"\x89PNG" and list(
        (tmp_path / "events").iterdir()
    )
    assert look.latest["intra/1"] > look.latest["inter"]
    plain = EmbeddingDiagnostics(str(tmp_path / "none"))
    trainer(ContrastTrainer, GlobalContrast(), True, 1, train_handlers=[plain]).run()
    assert set(plain.latest) == {"alignment", "uniformity"} and not (tmp_path / "none").exists()


def test_diagnostics_want_a_contrastive_trainer() -> None:
    engine = trainer(ContrastTrainer, GlobalContrast(), True, 1)
    other = SemiSupervisedTrainer(
        torch.device("cpu"), 1, 1, [], engine.network, engine.optimizer, engine.loss_function
    )
    with pytest.raises(ConfigError, match="expected: a contrastive trainer"):
        EmbeddingDiagnostics("x")._look(other)


def test_measures_against_pairs() -> None:
    torch.manual_seed(3)
    rows, classes = torch.randn(7, 4).double(), torch.tensor([0, 1, 0, 1, 1, 2, 2])
    unit = rows / rows.norm(dim=1, keepdim=True)
    pairs = list(itertools.combinations(range(7), 2))
    gaussian = [torch.exp(-2 * (unit[i] - unit[j]).square().sum()) for i, j in pairs]
    assert uniformity(rows) == pytest.approx(float(torch.stack(gaussian).mean().log()))
    assert alignment(rows, rows) == 0 and alignment(rows, -rows) == pytest.approx(4)
    found = class_similarity(rows, classes)
    for c in range(3):
        same = [float(unit[i] @ unit[j]) for i, j in pairs if classes[i] == classes[j] == c]
        assert found[f"intra/{c}"] == pytest.approx(sum(same) / len(same))
    between = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        cross = [float(x @ y) for x, y in itertools.product(unit[classes == a], unit[classes == b])]
        between.append(sum(cross) / len(cross))
    assert found["inter"] == pytest.approx(sum(between) / 3)
    assert uniformity(rows[:1]) == 0


def test_measures_of_maps() -> None:
    embeddings, labels = torch.randn(4, 3, 6, 6), torch.randint(0, 2, (4, 1, 6, 6))
    assert set(measures(embeddings, labels, 20)) == {"uniformity", "intra/0", "intra/1", "inter"}
    assert set(measures(embeddings, None, 20)) == {"uniformity", "alignment"}


@pytest.mark.parametrize("shape", [(8, 9, 7), (8, 9, 7, 5)])
def test_picture(shape: tuple[int, ...]) -> None:
    picture = principal_picture(torch.randn(shape))
    assert picture.shape == (9, 7, 3) and picture.min() >= 0 and picture.max() <= 1
    assert torch.isfinite(principal_picture(torch.ones(shape))).all()


def test_ignored_voxels_are_in_no_measure_of_classes() -> None:
    embeddings = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(72).reshape(2, 1, 6, 6) % 3 - 1
    found = measures(embeddings, labels, 36)
    rows, classes = embeddings[:1].flatten(2).movedim(1, -1)[0], labels[0].flatten()
    expected = class_similarity(rows[classes >= 0], classes[classes >= 0])
    assert {key: found[key] for key in expected} == expected and "intra/-1" not in found
