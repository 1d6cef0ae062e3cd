"""What the contract of losses says of Mask2Former's, which takes sets of masks instead of logits per pixel.

For per-pixel logits it is in the contract suite as every other loss. For sets of masks these parts do not apply:

- Ignored pixels do count in the masks, as in the authors' code: they belong to no mask, so each mask learns to leave
  them out. What they are labelled with (``ignore_index``) is nothing, as is an image of nothing but them.
- A gradient check in float64: the library computes points and matching in 32 bits. Here the slope in a random direction
  is compared with a difference quotient, the points held by the seed.
- Order of batch and pixels: points are drawn anew for every place, so the value moves with them, by chance alone.
- Class and pixel weights: it has none, and says so (``test_pixel_weights.py``).
- A formula in NumPy: the values are the library's own.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perpixel.models import SetLoss
from perpixel.models.mask_queries import MaskQueries

pytest.importorskip("transformers")

CLASSES, IGNORE = 3, 255


def batch(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> tuple[list[Tensor], Tensor]:
    """Class logits (2, 5, C + 1) and mask logits (2, 5, 8, 6) of two layers, and labels (2, 32, 24)."""
    rng = torch.Generator().manual_seed(0)
    shapes = [(2, 5, CLASSES + 1), (2, 5, 8, 6)] * 2
    target = torch.randint(0, CLASSES, (2, 4, 3), generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2)
    target[:, :8, :8] = IGNORE
    return [(torch.randn(shape, generator=rng) * scale).to(dtype) for shape in shapes], target


def value_of(leaves: list[Tensor], target: Tensor, loss: SetLoss | None = None) -> Tensor:
    torch.manual_seed(0)  # the points
    loss = loss or SetLoss(IGNORE, points=64)
    return loss(MaskQueries(tuple(leaves[::2]), tuple(leaves[1::2])), target)


def gradients(leaves: list[Tensor], target: Tensor, loss: SetLoss | None = None) -> tuple[Tensor, list[Tensor]]:
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    value = value_of(leaves, target, loss)
    return value.detach(), list(torch.autograd.grad(value, leaves))


def test_gradient_is_the_slope() -> None:
    leaves, target = batch()
    loss = SetLoss(IGNORE, points=1)  # of one, none is chosen by its uncertainty, which would leap
    _, slopes = gradients(leaves, target, loss)
    rng = torch.Generator().manual_seed(1)
    for _ in range(3):
        way = [torch.randn(leaf.shape, generator=rng) for leaf in leaves]
        ahead, behind = (
            value_of([leaf + step * d for leaf, d in zip(leaves, way, strict=True)], target, loss).double()
            for step in (1e-3, -1e-3)
        )
        along = sum((slope.double() * d).sum() for slope, d in zip(slopes, way, strict=True))
        torch.testing.assert_close(along, (ahead - behind) / 2e-3, rtol=2e-2, atol=2e-2)


def test_all_ignored_is_zero_with_zero_gradient() -> None:
    leaves, target = batch()
    value, slopes = gradients(leaves, torch.full_like(target, IGNORE))
    assert value == 0
    assert not any(slope.any() for slope in slopes)


@pytest.mark.parametrize("ignore_index", [-1, -100, 77])
def test_the_value_that_says_ignored_is_nothing(ignore_index: int) -> None:
    leaves, target = batch()
    renamed = target.where(target != IGNORE, ignore_index)
    assert torch.equal(value_of(leaves, target), value_of(leaves, renamed, SetLoss(ignore_index, points=64)))


def test_masks_of_an_image_without_labels_learn_nothing() -> None:
    leaves, target = batch()
    target[1] = IGNORE
    _, slopes = gradients(leaves, target)
    assert slopes[1][0].any()
    assert not slopes[1][1].any()
    assert not slopes[3][1].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_autocast_stays_finite(dtype: torch.dtype) -> None:
    leaves, target = batch(dtype, scale=1e4)
    with torch.autocast("cpu", dtype=dtype):
        value, slopes = gradients(leaves, target)
    assert value.isfinite()
    assert value.dtype == torch.float32
    assert all(slope.isfinite().all() for slope in slopes)


def test_a_class_absent_from_the_batch_asks_for_no_query() -> None:
    """Its logit may be as low as it likes."""
    leaves, target = batch()
    target[target == 2] = 0
    wider = [torch.cat([x[..., :2], torch.full_like(x[..., :1], -200.0), x[..., 3:]], -1) for x in leaves[::2]]
    without = [torch.cat([x[..., :2], x[..., 3:]], -1) for x in leaves[::2]]
    one, other = ([a, leaves[1], b, leaves[3]] for a, b in (wider, without))
    torch.testing.assert_close(value_of(one, target), value_of(other, target))


def test_a_better_set_costs_less() -> None:
    leaves, target = batch()
    small = torch.nn.functional.interpolate(target[:, None].float(), size=(8, 6))[:, 0]
    masks = torch.stack([(small == c) * 20.0 - 10 for c in range(CLASSES)] + [torch.full_like(small, -10.0)] * 2, 1)
    classes = 10 * torch.eye(CLASSES + 1)[[0, 1, 2, 3, 3]].expand(2, -1, -1)
    present = all(set(range(CLASSES)) <= set(image.unique().tolist()) for image in target)
    assert present
    assert value_of([classes, masks] * 2, target) < 0.5 * value_of(leaves, target)
