from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perpixel.losses import CrossEntropy, Dice, Loss, Sum
from perpixel.losses.pixels import Pixels
from perpixel.losses.sum import Weight, weight_at


def test_is_the_weighted_sum_of_its_parts() -> None:
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    loss = Sum([CrossEntropy(), Dice(), Dice(smooth=1.0)], [1.0, 0.5, 0.25])
    ce, dice, smooth = CrossEntropy()(logits, target), Dice()(logits, target), Dice(smooth=1.0)(logits, target)
    torch.testing.assert_close(loss(logits, target), ce + 0.5 * dice + 0.25 * smooth)
    torch.testing.assert_close(loss.parts, {"cross_entropy": ce, "dice": dice, "dice_2": smooth})
    assert CrossEntropy().parts == {}


def test_parts_of_nested_sums_are_told() -> None:
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    inner = Sum([Dice(), Dice(smooth=1.0)], [1.0, 0.5])
    loss = Sum([CrossEntropy(), inner, Sum([inner], [2.0])], [1.0, 1.0, 1.0])
    loss(logits, target)
    dice, smooth = Dice()(logits, target), Dice(smooth=1.0)(logits, target)
    expected = {"cross_entropy": CrossEntropy()(logits, target)}
    expected |= {"sum": dice + 0.5 * smooth, "sum/dice": dice, "sum/dice_2": smooth}
    expected |= {"sum_2": 2 * dice + smooth, "sum_2/sum": dice + 0.5 * smooth}
    expected |= {"sum_2/sum/dice": dice, "sum_2/sum/dice_2": smooth}
    torch.testing.assert_close(loss.parts, expected)


def test_names_of_parts_and_scheduled_weights_are_known_before_the_first_batch() -> None:
    inner = Sum([Dice(), Dice(smooth=1.0)], [1.0, [0.0, 4.0]])
    loss = Sum([CrossEntropy(), inner], [[1.0, 0.0], 1.0])
    assert loss.part_names == ("cross_entropy", "sum", "sum/dice", "sum/dice_2")
    assert loss.scheduled == {"cross_entropy": 1.0, "sum/dice_2": 0.0}
    loss.set_progress(0.25)
    assert loss.scheduled == {"cross_entropy": 0.75, "sum/dice_2": 1.0}
    loss(torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
    assert tuple(loss.parts) == loss.part_names


def test_parts_hold_no_graph() -> None:
    loss = Sum([CrossEntropy()], [1.0])
    loss(torch.randn(1, 3, 4, 4, requires_grad=True), torch.zeros(1, 4, 4, dtype=torch.int64))
    assert not loss.parts["cross_entropy"].requires_grad


def test_parts_share_the_sums_ignore_index() -> None:
    logits, target = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    target[0, 0, 0] = 9
    loss = Sum([CrossEntropy(ignore_index=1), Dice(ignore_index=2)], [1.0, 1.0], ignore_index=9)
    expected = CrossEntropy(ignore_index=9)(logits, target) + Dice(ignore_index=9)(logits, target)
    torch.testing.assert_close(loss(logits, target), expected)


@pytest.mark.parametrize(
    ("weight", "progress", "value"),
    [
        (2.0, 0.7, 2.0),
        ([3.0], 0.5, 3.0),
        ([0.0, 1.0], 0.25, 0.25),
        ([0.0, 0.0, 1.0], 0.75, 0.5),
        ([1.0, 5.0], 1.0, 5.0),
    ],
)
def test_weights_follow_the_training(weight: float | list[float], progress: float, value: float) -> None:
    assert weight_at(weight, progress) == pytest.approx(value)


def test_progress_reaches_nested_sums() -> None:
    inner = Sum([Dice()], [[0.0, 2.0]])
    outer = Sum([CrossEntropy(), inner], [[1.0, 0.0], 1.0])
    logits, target = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    outer.set_progress(1.0)
    torch.testing.assert_close(outer(logits, target), 2 * Dice()(logits, target))


class Infinite(Loss):
    """Overflows, in value and gradient."""

    def measure(self, pixels: Pixels) -> Tensor:
        return torch.exp(1e4 * pixels.logits.abs().sum())


@pytest.mark.parametrize("weight", [0.0, [0.0, 1.0]], ids=str)
def test_a_part_without_weight_is_told_but_not_counted(weight: Weight) -> None:
    logits, target = torch.randn(1, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (1, 4, 4))
    loss = Sum([Infinite(), CrossEntropy()], [weight, 1.0])
    value, alone = loss(logits, target), CrossEntropy()(logits, target)
    torch.testing.assert_close(value, alone)
    torch.testing.assert_close(torch.autograd.grad(value, logits), torch.autograd.grad(alone, logits))
    assert loss.parts["infinite"].isinf()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_without_any_weight_the_sum_is_zero_with_zero_gradient(dtype: torch.dtype) -> None:
    logits, target = torch.full((1, 3, 4, 4), math.inf, dtype=dtype, requires_grad=True), torch.zeros(1, 4, 4).long()
    value = Sum([Infinite(), CrossEntropy()], [0.0, 0.0])(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value == 0
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(gradient, torch.zeros_like(logits))


def test_refuses_lists_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 losses and 1 weights"):
        Sum([CrossEntropy(), Dice()], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        Sum([CrossEntropy()], [[]])
