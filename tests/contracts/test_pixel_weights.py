"""What every loss keeps when pixels have weights, or its refusal of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.contracts.test_losses import CONFIGS, IGNORE, LOSSES, batch, load, value_and_gradient
from torch import Tensor

from perpixel.losses import Loss, Lovasz, Sum

REFUSE = {"lovasz", "boundary", "boundary_sum", "ce_lovasz", "mask2former"}
TAKE = {name: make for name, make in LOSSES.items() if name not in REFUSE}
weighable = pytest.mark.parametrize("make", TAKE.values(), ids=TAKE.keys())


def weights_of(target: Tensor, seed: int = 5) -> Tensor:
    return torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) * 3 + 0.1


@weighable
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_ones_are_no_weights(make: Callable[[], Loss], dtype: torch.dtype) -> None:
    logits, target = batch(dtype=dtype)
    value, gradient = value_and_gradient(make(), logits, target)
    weighted, weighted_gradient = value_and_gradient(make(), logits, target, torch.ones(target.shape))
    assert torch.equal(weighted, value)
    assert torch.equal(weighted_gradient, gradient)


@weighable
def test_weights_matter_by_their_ratios_alone(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    weight = weights_of(target)
    plain, weighted, tripled = (make()(logits, target, w) for w in (None, weight, 3 * weight))
    assert not torch.isclose(weighted, plain, rtol=1e-3)
    if not getattr(make(), "smooth", 0):  # smooth is a number of pixels, so with it their number matters
        torch.testing.assert_close(tripled, weighted, rtol=1e-5, atol=1e-7)


@weighable
def test_a_pixel_of_weight_two_is_two_pixels(make: Callable[[], Loss]) -> None:
    """Stacking a row upon itself is doubling its weight, for losses that do not look at neighbours or ranks."""
    if type(make()).__name__ in ("OHEM", "BoundaryCrossEntropy"):
        pytest.skip("which pixels are hard, or near an edge, is a matter of pixels, not of weights")
    logits, target = batch()
    weight = torch.ones(target.shape)
    weight[:, 2] = 2
    doubled = torch.cat([logits, logits[:, :, 2:3]], 2), torch.cat([target, target[:, 2:3]], 1)
    torch.testing.assert_close(make()(logits, target, weight), make()(*doubled))


@weighable
def test_weight_zero_is_an_ignored_pixel(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    weight = weights_of(target).double()
    gone = torch.rand(target.shape, generator=torch.Generator().manual_seed(8)) < 0.3
    value, gradient = value_and_gradient(make(), logits, target, weight.masked_fill(gone, 0))
    expected, expected_gradient = value_and_gradient(make(), logits, target.masked_fill(gone, IGNORE), weight)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)
    assert not gradient.movedim(1, 3)[gone].any()


@weighable
def test_weights_of_ignored_pixels_are_nothing(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    weight = weights_of(target)
    value, gradient = value_and_gradient(make(), logits, target, weight)
    other, other_gradient = value_and_gradient(make(), logits, target, weight.masked_fill(target == IGNORE, 7e3))
    assert torch.equal(value, other)
    assert torch.equal(gradient, other_gradient)


@weighable
def test_weights_of_nothing_but_zero_give_zero(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    value, gradient = value_and_gradient(make(), logits, target, torch.zeros(target.shape))
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@weighable
def test_weighted_gradient_is_the_slope(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    weight = weights_of(target)
    assert torch.autograd.gradcheck(lambda x: make()(x, target, weight), (logits.requires_grad_(),), atol=1e-6)


@weighable
def test_weights_that_are_none_are_refused(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    for wrong, said in [
        (torch.ones(2, 6), "shaped as the target"),
        (torch.ones(target.shape, dtype=torch.int64), "floating-point"),
        (torch.full(target.shape, -1.0), "≥ 0"),
        (torch.full(target.shape, torch.nan), "finite"),
    ]:
        with pytest.raises(ValueError, match=said):
            make()(logits, target, wrong)


@pytest.mark.parametrize("make", [LOSSES[name] for name in sorted(REFUSE)], ids=sorted(REFUSE))
def test_a_loss_without_weights_says_why(make: Callable[[], Loss]) -> None:
    logits, target = batch()
    loss = make()
    assert not loss.takes_pixel_weights
    for call in (loss.check_pixel_weights, lambda: loss(logits, target, torch.ones(target.shape))):
        with pytest.raises(ValueError, match=r"takes no pixel weights: .{30,}or a sum of these"):
            call()


def test_the_refusal_names_all_that_take_weights() -> None:
    alone = {path.stem: load(path) for path in CONFIGS}
    able = {name for name, loss in alone.items() if loss.takes_pixel_weights and not isinstance(loss, Sum)}
    with pytest.raises(ValueError, match="Take a loss") as refusal:
        Lovasz().check_pixel_weights()
    named = str(refusal.value).split("(")[1].split(" or a sum")[0]
    assert set(named.split(", ")) == able


@weighable
def test_a_loss_with_weights_lets_them_pass(make: Callable[[], Loss]) -> None:
    assert make().takes_pixel_weights
    make().check_pixel_weights()
