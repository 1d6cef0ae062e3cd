"""What every loss keeps, whatever it measures. A new loss adds one line to LOSSES."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

import perpixel.losses
from perpixel.losses import (
    OHEM,
    Boundary,
    BoundaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    Jaccard,
    Loss,
    Lovasz,
    Sum,
    Tversky,
)
from perpixel.models import SetLoss

CLASSES, IGNORE = 4, 255

LOSSES: dict[str, Callable[..., Loss]] = {
    "ce": CrossEntropy,
    "ce_smooth": lambda **given: CrossEntropy(label_smoothing=0.1, **given),
    "focal": Focal,
    "focal_half": lambda **given: Focal(gamma=0.5, **given),
    "dice": Dice,
    "dice_per_image": lambda **given: Dice(per_image=True, **given),
    "dice_smooth": lambda **given: Dice(smooth=1.0, **given),
    "jaccard": Jaccard,
    "tversky": Tversky,
    "focal_tversky": FocalTversky,
    "lovasz": Lovasz,
    "ohem": lambda **given: OHEM(min_kept=0.3, **given),
    "boundary": Boundary,
    "boundary_ce": BoundaryCrossEntropy,
    "ce_lovasz": lambda **given: Sum([CrossEntropy(), Lovasz()], [1.0, 1.0], **given),
    "ce_dice": lambda **given: Sum([CrossEntropy(), Dice()], [1.0, 0.5], **given),
    "ce_without_dice": lambda **given: Sum([CrossEntropy(), Dice()], [1.0, 0.0], **given),
    "boundary_sum": lambda **given: Sum([Dice(), Boundary()], [1.0, [0.01, 1.0]], **given),
    "nested": lambda **given: Sum([CrossEntropy(), Sum([Dice(), Focal()], [1.0, 0.5])], [1.0, 0.5], **given),
    "mask2former": SetLoss,  # for per-pixel logits; for sets of masks see test_set_loss.py
}
WEIGHTED: dict[str, Callable[[list[float]], Loss]] = {
    "ce": lambda weights: CrossEntropy(class_weights=weights),
    "ce_smooth": lambda weights: CrossEntropy(label_smoothing=0.1, class_weights=weights),
    "focal": lambda weights: Focal(class_weights=weights),
    "dice": lambda weights: Dice(class_weights=weights),
    "dice_per_image": lambda weights: Dice(class_weights=weights, per_image=True),
    "jaccard": lambda weights: Jaccard(class_weights=weights),
    "tversky": lambda weights: Tversky(class_weights=weights),
    "focal_tversky": lambda weights: FocalTversky(class_weights=weights),
    "ohem": lambda weights: OHEM(class_weights=weights, min_kept=0.3),
    "lovasz": lambda weights: Lovasz(class_weights=weights),
}
SPATIAL = {"boundary", "boundary_ce", "boundary_sum"}

NARROW = {torch.float32: 1e-3, torch.bfloat16: 1e-2, torch.float16: 3e-2}
"""Precisions that training uses, and how far a gradient may be from float64's, as a share of the largest."""

every_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
pixelwise = pytest.mark.parametrize(
    "make", [make for name, make in LOSSES.items() if name not in SPATIAL], ids=[n for n in LOSSES if n not in SPATIAL]
)


def batch(seed: int = 0, dtype: torch.dtype = torch.float64, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Random logits (2, C, 6, 5), and labels of which some are ignored."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 6, 5, generator=rng, dtype=dtype) * 2
    target = torch.randint(0, classes, (2, 6, 5), generator=rng)
    target[torch.rand(target.shape, generator=rng) < 0.2] = IGNORE
    return logits, target


def value_and_gradient(
    loss: Loss, logits: Tensor, target: Tensor, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    value = loss(logits, target, weight)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@every_loss
def test_gradient_is_the_slope(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda x: make()(x, target), (logits.requires_grad_(),), atol=1e-6, fast_mode=False)


@every_loss
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_gradient_in_the_precision_of_training(make: Callable[..., Loss], dtype: torch.dtype) -> None:
    """Held against float64's of the same (rounded) logits: that one is the slope, by the test above."""
    logits, target = batch(dtype=dtype)
    value, gradient = value_and_gradient(make(), logits, target)
    exact_value, exact = value_and_gradient(make(), logits.double(), target)
    torch.testing.assert_close(value.double(), exact_value, rtol=1e-5, atol=1e-6)
    assert (gradient.double() - exact).abs().max() <= NARROW[dtype] * exact.abs().max()


@every_loss
def test_is_a_finite_scalar_of_at_least_32_bits(make: Callable[..., Loss]) -> None:
    for dtype, expected in [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.half, torch.float32),
    ]:
        value, gradient = value_and_gradient(make(), *batch(dtype=dtype))
        assert value.shape == ()
        assert value.dtype == expected
        assert gradient.dtype == dtype
        assert value.isfinite()


@every_loss
def test_learns_the_target(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    perfect = 6 * torch.nn.functional.one_hot(target.where(target != IGNORE, 0), CLASSES).movedim(3, 1).double()
    assert make()(perfect, target) < make()(logits, target)
    assert make()(logits, target) < make()(-perfect, target)


@every_loss
def test_log_probabilities_give_the_same_as_logits(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    value, gradient = value_and_gradient(make(), logits, target)
    logits.requires_grad_()
    again = make().from_log_probs(torch.log_softmax(logits, 1), target)
    (again_gradient,) = torch.autograd.grad(again, logits)
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(again_gradient, gradient)


@every_loss
@pytest.mark.parametrize("ignore_index", [255, -100, -1])
@pytest.mark.parametrize("dtype", [torch.float64, *NARROW], ids=str)
def test_ignored_pixels_change_nothing(make: Callable[..., Loss], dtype: torch.dtype, ignore_index: int) -> None:
    logits, target = batch(dtype=dtype)
    ignored = target == IGNORE
    target[ignored] = ignore_index
    loss = make(ignore_index=ignore_index)
    value, gradient = value_and_gradient(loss, logits, target)
    other = torch.where(ignored.unsqueeze(1), 50 * batch(1, dtype)[0], logits)
    other_value, other_gradient = value_and_gradient(loss, other, target)
    assert torch.equal(value, other_value)
    assert torch.equal(gradient, other_gradient)
    assert not gradient.movedim(1, 3)[ignored].any()


@every_loss
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("classes", [slice(0, 1), slice(None)], ids=["one", "all"])
def test_ignored_pixels_may_hold_anything(make: Callable[..., Loss], junk: float, classes: slice) -> None:
    logits, target = batch()
    ignored = (target == IGNORE).unsqueeze(1)
    value, gradient = value_and_gradient(make(), logits, target)
    logits[:, classes] = logits[:, classes].masked_fill(ignored, junk)
    other_value, other_gradient = value_and_gradient(make(), logits, target)
    assert torch.equal(value, other_value)
    assert torch.equal(gradient, other_gradient)
    none, nothing = value_and_gradient(make(), torch.full_like(logits, junk), torch.full_like(target, IGNORE))
    assert none == 0
    assert not nothing.any()


@every_loss
def test_nan_at_a_labelled_pixel_is_seen(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    target[0, 2, 2] = 0
    logits[0, :, 2, 2] = math.nan
    assert make()(logits, target).isnan()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float64, *NARROW], ids=str)
def test_all_ignored_is_zero_with_zero_gradient(make: Callable[..., Loss], dtype: torch.dtype) -> None:
    logits, target = batch(dtype=dtype)
    value, gradient = value_and_gradient(make(), logits, torch.full_like(target, IGNORE))
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_autocast_stays_finite_at_512(make: Callable[..., Loss], dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (1, 512, 512), generator=rng)
    logits = (torch.rand(1, 3, 512, 512, generator=rng).sub(0.5).sign() * torch.finfo(torch.float16).max).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        value, gradient = value_and_gradient(make(), logits, target)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_loss
def test_sixteen_bit_logits_lose_only_their_own_rounding(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    rounded = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = make()(rounded, target)
    torch.testing.assert_close(value.double(), make()(rounded.double(), target), rtol=1e-5, atol=1e-6)


@every_loss
def test_order_of_the_batch_is_nothing(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    value, gradient = value_and_gradient(make(), logits, target)
    flipped_value, flipped = value_and_gradient(make(), logits.flip(0), target.flip(0))
    torch.testing.assert_close(flipped_value, value)
    torch.testing.assert_close(flipped.flip(0), gradient)


@pixelwise
def test_order_of_the_pixels_is_nothing(make: Callable[..., Loss]) -> None:
    """Within each image in an order of its own: in value, and in each pixel's gradient."""
    logits, target = batch()
    rng = torch.Generator().manual_seed(3)
    orders = torch.stack([torch.randperm(30, generator=rng) for _ in logits])

    def shuffled(maps: Tensor) -> Tensor:
        flat = maps.view(len(maps), -1, 30)
        return flat.gather(2, orders[:, None].expand_as(flat)).view_as(maps)

    value, gradient = value_and_gradient(make(), logits, target)
    again, again_gradient = value_and_gradient(make(), shuffled(logits), shuffled(target))
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(again_gradient, shuffled(gradient))


LAYOUTS = [(0, 1, 2, 3), (0, 2, 3, 1), (0, 1, 3, 2), (0, 2, 1, 3), (0, 3, 2, 1), (2, 3, 1, 0), (3, 1, 2, 0)]
"""Orders of the dimensions in memory, the second channels last."""


def laid_out(logits: Tensor, order: tuple[int, ...]) -> Tensor:
    """The same values with the dimensions in another order in memory."""
    back = [order.index(dimension) for dimension in range(4)]
    return logits.permute(order).contiguous().permute(back)


@every_loss
@pytest.mark.parametrize("order", LAYOUTS, ids=str)
def test_memory_layout_is_nothing(make: Callable[..., Loss], order: tuple[int, ...]) -> None:
    logits, target = batch()
    value, gradient = value_and_gradient(make(), logits, target)
    again, again_gradient = value_and_gradient(make(), laid_out(logits, order), target)
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(again_gradient, gradient)


@every_loss
def test_logits_may_be_views(make: Callable[..., Loss]) -> None:
    """Turned, sliced out of more, repeated without memory of their own."""
    logits, target = batch()
    views = [
        (logits.rot90(1, (2, 3)), target.rot90(1, (1, 2))),
        (logits.transpose(2, 3), target.transpose(1, 2)),
        (logits[..., 1:5, ::2], target[:, 1:5, ::2]),
        (logits[:1].expand(2, -1, -1, -1), target),
    ]
    for view, labels in views:
        value, gradient = value_and_gradient(make(), view.contiguous(), labels.contiguous())
        again, again_gradient = value_and_gradient(make(), view, labels)
        torch.testing.assert_close(again, value)
        torch.testing.assert_close(again_gradient, gradient)


@every_loss
def test_backward_twice_doubles_the_gradient(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    logits.requires_grad_()
    value = make()(logits, target)
    value.backward(retain_graph=True)
    once = logits.grad.clone()
    value.backward()
    torch.testing.assert_close(logits.grad, 2 * once)


@every_loss
def test_shapes_that_do_not_fit_are_refused(make: Callable[..., Loss]) -> None:
    logits, target = batch()
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        make()(logits, target[:, :-1])
    with pytest.raises(ValueError, match="integer"):
        make()(logits, target.double())
    target[0, 0, 0] = CLASSES
    with pytest.raises(ValueError, match=f"the value {CLASSES}"):
        make()(logits, target)


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED.keys())
def test_class_weights_matter(make: Callable[[list[float]], Loss]) -> None:
    logits, target = batch()
    even, uneven, absent = (make(w)(logits, target) for w in ([2.0] * 4, [4.0, 1.0, 1.0, 0.1], [0.0, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(even, make([1.0] * 4)(logits, target))
    assert not math.isclose(even, uneven, rel_tol=1e-4)
    assert not math.isclose(even, absent, rel_tol=1e-4)


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED.keys())
def test_class_weights_must_be_numbers(make: Callable[[list[float]], Loss]) -> None:
    with pytest.raises(ValueError, match="≥ 0"):
        make([1.0, -1.0, 1.0, 1.0])


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED.keys())
@pytest.mark.parametrize("number", [1, CLASSES - 1, CLASSES + 1])
def test_class_weights_must_be_one_per_class(make: Callable[[list[float]], Loss], number: int) -> None:
    logits, target = batch()
    with pytest.raises(ValueError, match=f"it has {number}, the logits have {CLASSES}"):
        make([1.0] * number)(logits, target)


@every_loss
def test_class_absent_from_the_batch_is_left_out(make: Callable[..., Loss]) -> None:
    """A class that neither the truth nor the prediction knows changes nothing, but for smoothing, which asks for it."""
    logits, target = batch()
    value = make()(torch.cat([logits, torch.full_like(logits[:, :1], -200.0)], 1), target)
    share = getattr(make(), "label_smoothing", 0.0)
    if not share:
        torch.testing.assert_close(value, make()(logits, target))
        return
    known = logits.log_softmax(1).movedim(1, 3)[target != IGNORE]
    absent = -200 - logits.logsumexp(1)[target != IGNORE]
    smooth = -(known.sum(1) + absent).mean() / (CLASSES + 1)
    torch.testing.assert_close(value, (1 - share) * CrossEntropy()(logits, target) + share * smooth)


def test_no_loss_is_left_out() -> None:
    """Neither of this suite, nor of its parts on class weights."""
    public = {kind for kind in vars(perpixel.losses).values() if inspect.isclass(kind) and issubclass(kind, Loss)}
    assert public - {Loss} | {SetLoss} == {type(make()) for make in LOSSES.values()}
    takes_weights = {kind for kind in public if "class_weights" in inspect.signature(kind).parameters}
    assert takes_weights == {type(make([1.0] * CLASSES)) for make in WEIGHTED.values()}


CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[2] / "conf" / "loss").glob("*.yaml"))
    if "perpixel.losses." in path.read_text()
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_its_loss_and_lists_every_argument(path: Path) -> None:
    loss = load(path)
    assert isinstance(loss, Loss)
    assert loss(*batch()).isfinite()


def load(path: Path) -> Any:
    """The loss of a YAML, which must list every argument."""
    return built(OmegaConf.to_container(OmegaConf.load(path)), complete=path.stem != "sum")


def built(node: Any, complete: bool) -> Any:
    if isinstance(node, list):
        return [built(item, complete) for item in node]
    if not isinstance(node, dict):
        return node
    kind = getattr(perpixel.losses, node["_target_"].removeprefix("perpixel.losses."))
    given = {key: built(value, complete) for key, value in node.items() if key != "_target_"}
    if complete:
        assert set(given) == set(inspect.signature(kind).parameters) - {"ignore_index"}
    return kind(**given)
