"""Moving average against its formula, tensor by tensor."""

from __future__ import annotations

import torch
from monai.networks.nets import DynUNet
from torch import nn

from monai_semiseg.networks.average import MovingAverage


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))


def test_against_the_formula() -> None:
    torch.manual_seed(0)
    student, teacher = network(), network()
    average = MovingAverage(teacher, student, 0.9)
    average.reset()
    slow = {name: value.double().clone() for name, value in student.state_dict().items()}
    for iteration in range(1, 30):
        student(torch.randn(2, 1, 8, 8))  # moves the running statistics
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(iteration)
        keep = min(1 - 1 / (iteration + 1), 0.9)
        for name, value in student.state_dict().items():
            moves = value.is_floating_point()
            slow[name] = (
                keep * slow[name] + (1 - keep) * value.double() if moves else value.double().clone()
            )
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value.double(), slow[name], atol=1e-5, rtol=1e-5)


def test_the_first_updates_are_a_plain_mean() -> None:
    student, teacher = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    average = MovingAverage(teacher, student, 0.99)
    values = [3.0, 5.0, 1.0, 7.0]
    student.weight.data.fill_(values[0])
    average.reset()
    for iteration, value in enumerate(values[1:], 1):
        student.weight.data.fill_(value)
        average.update(iteration)
    assert abs(teacher.weight.item() - sum(values) / 4) < 1e-6


def test_the_teacher_is_no_student() -> None:
    teacher = network()
    MovingAverage(teacher, network())
    assert not teacher.training and not any(
        parameter.requires_grad for parameter in teacher.parameters()
    )


def test_a_tensor_under_several_names_moves_once() -> None:
    """Check DynUNet, whose levels are in a second module as well, and a layer with three names."""
    student, teacher = (DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], [2, 2, 4]) for _ in range(2))
    for network in (student, teacher):
        network.again = nn.ModuleList([network.input_block])
    MovingAverage(teacher, student, 0.75).reset()
    before = {name: value.clone() for name, value in teacher.named_parameters()}
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    MovingAverage(teacher, student, 0.75).update(1000)
    assert len(before) < len(teacher.state_dict())
    for name, value in teacher.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.25)
