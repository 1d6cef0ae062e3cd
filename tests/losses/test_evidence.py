"""The chunked pass over the logits against PyTorch's own operations, for sizes of many parts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.contracts.test_losses import laid_out
from torch import Tensor

from perpixel.losses import CrossEntropy, Dice, Focal, Jaccard, Loss, Sum
from perpixel.losses.pixels import Pixels
from perpixel.losses.softmax_stats import PART_BYTES, evidence


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several an image, the last of them shorter, each of more than one run."""
    monkeypatch.setitem(PART_BYTES, "cpu", 2**20)


def big(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, 19, 250, 261, generator=rng) * 3).to(dtype)
    target = torch.randint(0, 19, (2, 250, 261), generator=rng)
    target[torch.rand(target.shape, generator=rng) < 0.1] = 255
    return logits, target


def plain(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> list[Tensor]:
    valid = target != 255
    log_probs = F.log_softmax(logits, 1)
    truth = F.one_hot(target.where(valid, 0), 19).movedim(3, 1) * valid.unsqueeze(1)
    known = valid.unsqueeze(1) if weight is None else (weight * valid).unsqueeze(1)
    of_truth = known * truth
    sums = [of_truth, of_truth * log_probs, of_truth * log_probs.exp(), known * log_probs.exp(), known * log_probs]
    return [(truth * log_probs).sum(1), *(each.sum((2, 3)) for each in sums)]


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_plain_operations(threads: int, layout: torch.memory_format) -> None:
    logits, target = big(torch.float64)
    every_output_is_that_of_plain_operations(logits.to(memory_format=layout), target)


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (0, 2, 1, 3), (0, 3, 2, 1)])
def test_other_layouts_are_as_good(order: tuple[int, ...]) -> None:
    logits, target = (each[:1] for each in big(torch.float64))
    every_output_is_that_of_plain_operations(laid_out(logits, order), target)


def every_output_is_that_of_plain_operations(logits: Tensor, target: Tensor) -> None:
    for index in (0, 2, 3, 4, 5):  # every output alone, so that each slope is met without the others
        same_value_and_gradient(logits, target, index, None)


@pytest.mark.parametrize("index", [0, 2, 3, 4, 5])
def test_weighted_sums_are_those_of_plain_operations(index: int) -> None:
    logits, target = (each[..., :120, :] for each in big(torch.float64))
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * (target != 255)
    same_value_and_gradient(logits, target, index, weight)


def same_value_and_gradient(logits: Tensor, target: Tensor, index: int, weight: Tensor | None) -> None:
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    one, other = evidence(ours, target, 255, weight)[index], plain(theirs, target, weight)[index]
    torch.testing.assert_close(one, other.to(one.dtype))
    steer = torch.randn(one.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (one * steer).sum().backward()
    (other * steer).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_probabilities_are_the_softmax(dtype: torch.dtype) -> None:
    logits, target = (each[..., :20, :20] for each in big(dtype))
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    one = Pixels(ours, target, 255).probs
    other = theirs.to(one.dtype).softmax(1) * (target != 255).unsqueeze(1)
    torch.testing.assert_close(one, other)
    steer = torch.randn(one.shape, generator=torch.Generator().manual_seed(1), dtype=one.dtype)
    (one * steer).sum().backward()
    (other * steer).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_same_bits_for_every_number_of_threads() -> None:
    logits, target = big()
    before, values = torch.get_num_threads(), []
    for number in (1, 2, 4):
        torch.set_num_threads(number)
        leaf = logits.clone().requires_grad_()
        value = Sum([CrossEntropy(), Dice()], [1.0, 1.0])(leaf, target)
        value.backward()
        values.append((value.detach(), leaf.grad))
    torch.set_num_threads(before)
    for value, gradient in values[1:]:
        assert torch.equal(value, values[0][0])
        assert torch.equal(gradient, values[0][1])


@pytest.mark.parametrize("loss", [Dice(), CrossEntropy(), CrossEntropy(label_smoothing=0.1)])
def test_thirty_two_bits_are_within_a_millionth_of_sixty_four(loss: torch.nn.Module) -> None:
    logits, target = big()
    torch.testing.assert_close(loss(logits, target).double(), loss(logits.double(), target), rtol=1e-6, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("margin", "bound"), [(8.0, 3e-6), (10.0, 3e-5), (12.0, 1e-4)])
@pytest.mark.parametrize("loss", [CrossEntropy(), Dice(), Jaccard(), Focal()], ids=lambda loss: type(loss).__name__)
def test_small_losses_keep_their_digits(loss: Loss, margin: float, bound: float, layout: torch.memory_format) -> None:
    """Of a network that is nearly sure and right: losses down to 1e-5, which are one minus something near 1."""
    rng = torch.Generator().manual_seed(0)
    target = (torch.arange(512) // 256)[None, :, None].expand(1, 512, 512).contiguous()
    logits = torch.randn(1, 2, 512, 512, generator=rng)
    logits.scatter_add_(1, target.unsqueeze(1), torch.full((1, 1, 512, 512), margin))
    exact = loss(logits.double(), target)
    torch.testing.assert_close(loss(logits.to(memory_format=layout), target).double(), exact, rtol=bound, atol=0)


@pytest.mark.parametrize("ignore_index", [-100, 300])
def test_an_ignore_index_that_the_targets_dtype_cannot_hold_ignores_nothing(ignore_index: int) -> None:
    logits, target = torch.randn(1, 200, 4, 4), torch.full((1, 4, 4), ignore_index % 256, dtype=torch.uint8)
    for loss in (CrossEntropy(ignore_index), Dice(ignore_index), Focal(ignore_index)):
        torch.testing.assert_close(loss(logits, target), loss(logits, target.long()), rtol=0, atol=0)
        assert loss(logits, target) > 0


def test_a_loss_around_one_that_smooths_gets_its_sums() -> None:
    class Around(Loss):
        def __init__(self) -> None:
            super().__init__()
            self.within = CrossEntropy(label_smoothing=0.1)

        def measure(self, pixels: Pixels) -> Tensor:
            return self.within.measure(pixels)

    logits, target = torch.randn(2, 5, 8, 8), torch.randint(0, 5, (2, 8, 8))
    torch.testing.assert_close(Around()(logits, target), CrossEntropy(label_smoothing=0.1)(logits, target))
    assert Pixels(logits, target, 255, log_sums=False).evidence.log_sums is None
