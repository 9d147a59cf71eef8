"""Trainers of all comparators: losses, gradients, moving averages, and learning."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from monai_semiseg import engines
from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer, gaussian_ramp
from monai_semiseg.errors import ConfigError
from monai_semiseg.networks.auxiliary import PerturbedDecoders, PyramidHeads

CLASSES = 3
TEACHERS = {
    "mean_teacher",
    "uncertainty_aware",
    "weak_to_strong",
    "copy_paste",
    "label_propagation",
}
HARD = {
    "cross_pseudo",
    "weak_to_strong",
    "copy_paste",
}  # learn decisions, which entropy alone does not say
Build = Callable[..., SemiSupervisedTrainer]
Batch = Callable[..., dict[str, Tensor]]


def network(dims: int) -> BasicUNet:
    return BasicUNet(dims, 1, CLASSES, features=(4, 4, 8, 8, 16, 4))


def heads(net: nn.Module, dims: int, layers: list[str], outputs: int) -> PyramidHeads:
    return PyramidHeads(net, layers, outputs, [1, *[32] * dims])


def parts(name: str, net: nn.Module, dims: int) -> dict[str, Any]:
    """Create what a method needs beside the network."""
    if name in TEACHERS:
        return {"teacher": copy.deepcopy(net)}
    return {
        "cross_pseudo": lambda: {"partner": network(dims)},
        "cross_consistency": lambda: {"decoders": PerturbedDecoders(net, ["conv_0", "down_*"])},
        "pyramid": lambda: {"heads": heads(net, dims, ["upcat_3", "upcat_2"], CLASSES)},
        "dual_task": lambda: {
            "head": heads(net, dims, ["upcat_1"], CLASSES - 1),
            "steepness": 20.0,
        },
    }.get(name, dict)()


METHODS: dict[str, Build] = {
    "supervised": engines.SemiSupervisedTrainer,
    "entropy": engines.EntropyMinimisationTrainer,
    "mean_teacher": engines.MeanTeacherTrainer,
    "uncertainty_aware": engines.UncertaintyAwareTrainer,
    "weak_to_strong": engines.WeakToStrongTrainer,
    "copy_paste": engines.BidirectionalCopyPasteTrainer,
    "cross_pseudo": engines.CrossPseudoSupervisionTrainer,
    "cross_consistency": engines.CrossConsistencyTrainer,
    "pyramid": engines.PyramidConsistencyTrainer,
    "dual_task": engines.DualTaskConsistencyTrainer,
    "label_propagation": engines.LabelPropagationTrainer,
}
UNLABELLED = [name for name in METHODS if name != "supervised"]


def build(
    name: str, dims: int = 2, batches: Sequence[dict[str, Tensor]] = (), **settings: Any
) -> SemiSupervisedTrainer:
    torch.manual_seed(0)
    net = settings.pop("network", None) or network(dims)
    more = parts(name, net, dims)
    modules = [part for part in (net, *more.values()) if isinstance(part, nn.Module)]
    trained = list(itertools.chain.from_iterable(part.parameters() for part in modules))
    return METHODS[name](
        device=torch.device("cpu"),
        max_epochs=settings.pop("max_epochs", 1),
        epoch_length=len(batches) or 1,
        train_data_loader=batches,
        network=net,
        optimizer=torch.optim.Adam(trained, lr=settings.pop("lr", 3e-3)),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        **{**more, **settings},
    )


def started(name: str, dims: int = 2, **settings: Any) -> SemiSupervisedTrainer:
    """Create a trainer as it is before its first step."""
    trainer = build(name, dims, **settings)
    trainer.before_first_step()
    trainer.network.train()
    return trainer


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", UNLABELLED)
def test_gradient_reaches_the_network_and_no_teacher(name: str, dims: int, batch: Batch) -> None:
    trainer = started(name, dims, **({"threshold": 0.0} if name == "weak_to_strong" else {}))
    _, loss = trainer.losses(batch(dims))
    assert loss is not None and loss.ndim == 0 and torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    first, last = trainer.network.conv_0.conv_0.conv.weight, trainer.network.final_conv.weight
    assert first.grad is not None and first.grad.any()
    # The main output of CCT is a target: its decoder learns from labels alone.
    assert (last.grad is not None and bool(last.grad.any())) is (name != "cross_consistency")
    if name in TEACHERS:
        assert all(parameter.grad is None for parameter in trainer.teacher.parameters())


@pytest.mark.parametrize("name", UNLABELLED)
def test_labels_of_unlabelled_scans_are_not_there_to_be_used(name: str, batch: Batch) -> None:
    trainer = started(name)
    known = {
        "image",
        "label",
        "weak",
        "strong",
        *({"propagated"} if name == "label_propagation" else ()),
    }
    trainer.losses({key: value for key, value in batch().items() if key in known})
    with pytest.raises(ConfigError, match="paired_samples"):
        trainer.losses({key: value for key, value in batch().items() if key in ("image", "label")})


@pytest.mark.parametrize("name", [n for n in UNLABELLED if n not in HARD])
def test_the_unlabelled_loss_alone_goes_down(name: str, batch: Batch) -> None:
    """Check that the unlabelled loss alone falls by a fifth, with a constant or unused teacher."""
    torch.manual_seed(1)
    still = {"teacher_share": 0.0} if name == "label_propagation" else {}
    trainer = started(name, **still, **({"momentum": 0.9999} if name in TEACHERS else {}))
    values = []
    data = batch()
    for _ in range(40):
        trainer.optimizer.zero_grad()
        torch.manual_seed(2)  # the same noise each time, so that only learning changes the value
        loss = trainer.losses(data)[1]
        assert loss is not None
        loss.backward()  # type: ignore[no-untyped-call]
        trainer.optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("name", METHODS)
def test_learns_the_toy_problem(name: str, batch: Batch) -> None:
    """Check that unlabelled scans are segmented after training with both losses."""
    batches = [batch(2, seed) for seed in range(4)]
    trainer = build(
        name, batches=batches, max_epochs=20, lr=1e-2, unlabelled_weight=0.3, ramp_iterations=30
    )
    trainer.run()
    judged = (trainer.teacher if name in TEACHERS else trainer.network).eval()
    truth = batch(2, 7)
    with torch.no_grad():
        predicted = judged(truth["image"]).argmax(1, keepdim=True)
    assert float((predicted == truth["label"]).float().mean()) > 0.93
    assert trainer.state.iteration == 80


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_weights(name: str, batch: Batch) -> None:
    ends = []
    for _ in range(2):
        trainer = build(name, batches=[batch(2, 0), batch(2, 1)])
        trainer.run()
        ends.append(trainer.network.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


@pytest.mark.parametrize("length", [0, 1, 10, 400])
def test_ramp(length: int) -> None:
    values = [gaussian_ramp(t, length) for t in range(length + 5)]
    assert values == sorted(values) and values[length:] == [1.0] * 5
    if length:
        assert values[0] == pytest.approx(math.exp(-5)) and values[length // 2] == pytest.approx(
            math.exp(-5 * (1 - (length // 2) / length) ** 2)
        )


def test_the_ramp_and_the_weight_are_what_is_added(batch: Batch) -> None:
    trainer = build("entropy", batches=[batch()] * 3, unlabelled_weight=0.7, ramp_iterations=4)
    seen = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output)
    )
    trainer.run()
    assert len(seen) == 3
    for t, output in enumerate(seen, 1):
        total = output["supervised_loss"] + 0.7 * gaussian_ramp(t, 4) * output["unlabelled_loss"]
        assert float(output["loss"]) == pytest.approx(float(total), abs=1e-6)


def test_supervised_is_monais_trainer(batch: Batch) -> None:
    """Check that supervised training gives MONAI's own weights, bit for bit."""
    from monai.engines import SupervisedTrainer

    batches = [batch(2, seed) for seed in range(3)]
    ends = []
    ours = build("supervised", batches=batches)
    theirs = build("supervised", batches=batches)
    other = SupervisedTrainer(
        torch.device("cpu"),
        1,
        batches,
        theirs.network,
        theirs.optimizer,
        theirs.loss_function,
        epoch_length=3,
        decollate=False,
    )
    for trainer in (ours, other):
        trainer.run()
        ends.append(trainer.network.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_teacher_starts_from_what_the_student_has_and_follows(batch: Batch) -> None:
    trainer = build("mean_teacher", batches=[batch()] * 2)
    with torch.no_grad():
        trainer.network.final_conv.bias.fill_(3.0)  # as if initial weights had been loaded
    means = []
    trainer.add_event_handler(
        Events.STARTED, lambda _: means.append(trainer.teacher.final_conv.bias.mean().item())
    )
    slow: list[Tensor] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda _: slow.append(trainer.network.final_conv.weight.detach().clone()),
    )
    trainer.run()
    assert means == [3.0]
    start = build("mean_teacher").network.final_conv.weight.detach()
    torch.testing.assert_close(trainer.teacher.final_conv.weight, (start + slow[0] + slow[1]) / 3)


def test_uncertain_voxels_do_not_count(batch: Batch) -> None:
    """Check that nothing is learned where the teacher gives all classes equal probability."""
    trainer = started("uncertainty_aware", ramp_iterations=10, noise=0.0)
    with torch.no_grad():
        for parameter in trainer.teacher.final_conv.parameters():
            parameter.zero_()
    images = batch()["strong"]
    torch.testing.assert_close(
        trainer.uncertainty(images), torch.full((2, 1, 32, 32), math.log(3)), atol=1e-4, rtol=0
    )
    trainer.state.iteration = 5
    assert float(trainer.losses(batch())[1]) == 0


def test_confidence_and_cutmix_against_a_loop(
    monkeypatch: pytest.MonkeyPatch, batch: Batch
) -> None:
    trainer = started("weak_to_strong", threshold=0.4, box=(0.5, 0.5))
    data = batch()
    seen = {}
    monkeypatch.setattr(
        trainer, "pseudo_loss", lambda *args: seen.update(args=args) or args[0].sum()
    )
    inputs = []
    trainer.network.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    trainer.losses(data)
    _, label, weight = seen["args"]
    with torch.no_grad():
        q = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
    strong = inputs[0][2:]
    for n in range(2):
        for i in range(32):
            for j in range(32):
                pasted = not torch.equal(strong[n, 0, i, j], data["strong"][n, 0, i, j])
                source = (n + 1) % 2 if pasted else n
                assert strong[n, 0, i, j] == data["strong"][source, 0, i, j]
                assert label[n, 0, i, j] == q[source, :, i, j].argmax()
                assert weight[n, 0, i, j] == float(q[source, :, i, j].max() >= 0.4)
    assert 200 < (strong != data["strong"]).sum() / 2 < 300, "a box of half of each side"


def test_soft_targets_against_the_formula(batch: Batch) -> None:
    """Compare with the cross-entropy with the teacher's mixed probabilities over all voxels."""
    trainer = started("weak_to_strong", soft=True, box=(1.0, 1.0))
    data = batch()
    loss = trainer.losses(data)[1]
    with torch.no_grad():
        q = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)[
            [1, 0]
        ]  # the box is the whole patch: samples swap
        free = trainer.network(torch.cat([data["image"], data["strong"][[1, 0]]]))[2:]
    slow = -sum(q[:, c] * torch.log_softmax(free, 1)[:, c] for c in range(CLASSES))
    torch.testing.assert_close(loss, torch.as_tensor(slow).mean())


def test_the_soft_dice_term_against_the_formula(batch: Batch) -> None:
    """It is least where prediction and target agree, also where both are unsure."""
    plain = started("weak_to_strong", soft=True, box_probability=0.0)
    both = started("weak_to_strong", soft=True, dice=True, box_probability=0.0)
    logits = torch.randn(2, CLASSES, 8, 8)
    target = torch.softmax(torch.randn(2, CLASSES, 8, 8), 1)
    p, slow = torch.softmax(logits, 1), 0.0
    for c in range(1, CLASSES):
        overlap = sum(
            min(float(a), float(b))
            for a, b in zip(p[:, c].flatten(), target[:, c].flatten(), strict=True)
        )
        slow += (1 - 2 * overlap / float((p[:, c] + target[:, c]).sum())) / (CLASSES - 1)
    added = float(both.agreement(logits, target) - plain.agreement(logits, target))
    assert added == pytest.approx(slow, rel=1e-4)
    agreed = both.agreement(target.log(), target) - plain.agreement(target.log(), target)
    assert float(agreed) == pytest.approx(0, abs=1e-5)


def test_the_gradient_ratio_is_that_of_two_backward_passes(batch: Batch) -> None:
    trainer = build("entropy", batches=[batch()] * 2, unlabelled_weight=0.7, ramp_iterations=9)
    seen: list[dict[str, Tensor]] = []
    start = copy.deepcopy(trainer.network)

    def look(engine: Any) -> None:
        seen.append(dict(engine.state.output[0]))
        if engine.state.iteration == 1:
            start.load_state_dict(engine.network.state_dict())

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    trainer.run()
    assert "gradient_ratio" not in seen[0], "once an epoch"
    norms = []
    for number in (1, 0):
        other = build("entropy", network=copy.deepcopy(start))
        other.network.train()
        other.losses(batch())[number].backward()
        squares = [(v.grad**2).sum() for v in other.network.parameters() if v.grad is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))
    slow = 0.7 * gaussian_ramp(2, 9) * norms[0] / norms[1]
    assert float(seen[1]["gradient_ratio"]) == pytest.approx(slow, rel=1e-4)


@pytest.mark.parametrize("iteration", [1, 5, 10, 50])
def test_label_propagation_against_the_formula(iteration: int, batch: Batch) -> None:
    """Check that the target starts as the propagated labels and ends with the teacher's share."""
    trainer = started(
        "label_propagation", soft=True, teacher_share=0.4, teacher_ramp=10, box_probability=0.0
    )
    trainer.state.iteration = iteration
    data = batch()
    loss = trainer.losses(data)[1]
    with torch.no_grad():
        taught = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
        free = torch.log_softmax(trainer.network(torch.cat([data["image"], data["strong"]]))[2:], 1)
    share = 0.4 * gaussian_ramp(iteration, 10)
    p = data["propagated"]
    slow = 0.0
    for c, carried in enumerate((1 - p[:, 0] - p[:, 1], p[:, 0], p[:, 1])):
        slow -= float((((1 - share) * carried + share * taught[:, c]) * free[:, c]).mean())
    assert float(loss) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("wrong", [{"teacher_share": 1.5}, {"teacher_ramp": -1}])
def test_label_propagation_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not negative"):
        build("label_propagation", **wrong)


def test_copy_paste_against_a_loop(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> None:
    trainer = started("copy_paste", pseudo_weight=0.25)
    data = batch()
    calls = []
    inputs = []
    monkeypatch.setattr(trainer, "mixed_loss", lambda *args: calls.append(args) or args[0].sum())
    trainer.network.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    trainer.losses(data)
    with torch.no_grad():
        pseudo = trainer.teacher.eval()(data["weak"]).argmax(1, keepdim=True).float()
    _, first, second = inputs[0].chunk(3)
    for mixed, (_, label, weight) in zip((first, second), calls, strict=True):
        labelled = mixed == data["image"]
        assert 0.3 < labelled.float().mean() < 0.7
        assert torch.equal(mixed[~labelled], data["strong"][~labelled])
        assert torch.equal(label[labelled], data["label"][labelled]) and torch.equal(
            label[~labelled], pseudo[~labelled]
        )
        assert torch.equal(weight, torch.where(labelled, 1.0, 0.25))
    assert torch.equal(first == data["image"], second != data["image"])


def test_cross_pseudo_supervision_against_the_formula(batch: Batch) -> None:
    trainer = started("cross_pseudo")
    data = batch()
    images = torch.cat([data["image"], data["strong"]])
    a, b = trainer.network(images), trainer.partner(images)
    log_a, log_b = torch.log_softmax(a, 1), torch.log_softmax(b, 1)
    slow = -(
        log_a.gather(1, b.argmax(1)[:, None]).mean() + log_b.gather(1, a.argmax(1)[:, None]).mean()
    )
    torch.testing.assert_close(trainer.losses(data)[1], slow)


def test_two_networks_from_one_file_are_moved_apart() -> None:
    trainer = build("cross_pseudo")
    trainer.partner.load_state_dict(trainer.network.state_dict())
    trainer.before_first_step()
    own, other = (
        trainer.network.conv_0.conv_0.conv.weight,
        trainer.partner.conv_0.conv_0.conv.weight,
    )
    assert 0.03 < float((own - other).std() / own.std()) < 0.3
    already = build("cross_pseudo")
    before = copy.deepcopy(already.partner.conv_0.conv_0.conv.weight)
    already.before_first_step()
    assert torch.equal(before, already.partner.conv_0.conv_0.conv.weight)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"autocast_dtype": "int8"}, "int8"),
        ({"autocast_dtype": "float16"}, "on a CPU"),
        ({"unlabelled_weight": -1.0}, "-1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build("supervised", **settings)


class Linear(nn.Module):
    """Mean squared error to the label, a loss that is linear in the batch."""

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        return (logits - label).square().mean()


@pytest.mark.parametrize("name", ["supervised", "mean_teacher"])
def test_accumulated_gradients_are_those_of_the_joined_batch(name: str, batch: Batch) -> None:
    whole = [batch(seed=s) for s in range(3)]
    halves = [
        {key: value[n : n + 1] for key, value in one.items()}
        for one, n in itertools.product(whole, range(2))
    ]
    ends = []
    for batches, steps in ((whole, 1), (halves, 2)):
        quiet = {"noise": 0.0} if name != "supervised" else {}
        trainer = build(name, batches=batches, accumulation_steps=steps, **quiet)
        trainer.loss_function = Linear()
        trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), 0.1)
        trainer.ramp_iterations = 0
        updates = []
        follow = trainer.after_step
        trainer.after_step = lambda n, follow=follow, updates=updates: (
            updates.append(n),
            follow(n),
        )[1]  # type: ignore[method-assign]
        trainer.run()
        assert len(updates) == 3  # a teacher moves with the steps, not with the batches
        ends.append(trainer.network.state_dict())
    if name == "supervised":  # a teacher's weight depends on the number of the step
        for key, value in ends[0].items():
            torch.testing.assert_close(value, ends[1][key], atol=1e-5, rtol=1e-4)


def test_the_last_batch_of_an_epoch_steps_in_any_case(batch: Batch) -> None:
    trainer = build("supervised", batches=[batch(seed=s) for s in range(3)], accumulation_steps=2)
    steps = []
    trainer.after_step = steps.append  # type: ignore[method-assign]
    trainer.run()
    assert steps == [2, 3]


def test_a_compiled_network_trains_and_its_state_has_plain_names(batch: Batch) -> None:
    trainer = build("mean_teacher", compiled=True, batches=[batch(seed=0)])
    trainer.network = torch.compile(
        trainer.network._orig_mod, backend="eager"
    )  # no compiler is needed for this
    trainer.run()
    assert all(torch.isfinite(value).all() for value in trainer.teacher.state_dict().values())
    assert not any(key.startswith("_orig_mod") for key in trainer.teacher.state_dict())
    plain = build("mean_teacher", batches=[batch(seed=0)])
    plain.run()
    for key, value in plain.teacher.state_dict().items():
        torch.testing.assert_close(value, trainer.teacher.state_dict()[key], atol=1e-4, rtol=1e-3)


def test_where_nothing_was_propagated_the_target_is_the_teachers(batch: Batch) -> None:
    trainer = started("label_propagation", teacher_share=0.4)
    data = batch()
    complete = trainer.target(data)
    data["propagated"][:, :, :5] = torch.nan
    with torch.no_grad():
        taught = torch.softmax(trainer.teacher.eval()(data["weak"]), 1)
    target = trainer.target(data)
    torch.testing.assert_close(target[:, :, :5], taught[:, :, :5])
    assert torch.equal(target[:, :, 5:], complete[:, :, 5:])
