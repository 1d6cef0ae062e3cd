from __future__ import annotations

import pytest
import torch

from perpixel.losses import CrossEntropy, Dice, Lovasz
from perpixel.threads import for_each


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice(), Lovasz()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_losses_work_in_validation_with_several_threads(loss, mode, two_threads) -> None:
    logits, target = torch.randn(4, 5, 64, 64), torch.randint(0, 5, (4, 64, 64))
    expected = loss(logits, target)
    with mode():
        torch.testing.assert_close(loss(logits * 1.0, target), expected)


def test_errors_reach_the_caller_and_every_item_is_worked_once(two_threads) -> None:
    seen = torch.zeros(100, dtype=torch.int64)
    for_each(lambda item, _: seen[item].add_(1), range(100), torch.device("cpu"), lambda: None)
    assert seen.tolist() == [1] * 100
    with pytest.raises(ZeroDivisionError):
        for_each(lambda item, _: 1 // item, range(3), torch.device("cpu"), lambda: None)
