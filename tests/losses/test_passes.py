"""The logits are normalised once a loss, however many parts it has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.contracts.test_losses import CONFIGS, LOSSES, load
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from perpixel.losses import Boundary, CrossEntropy, Dice, Focal, Loss, Lovasz, Sum

NORMALISERS = {"_log_softmax", "_softmax", "logsumexp", "amax"}
"""`amax` is the first step of the chunked pass, and of every log-softmax that is written out."""


class Normalised(TorchDispatchMode):
    """Counts how many values each operation that normalises logits has read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.read: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in NORMALISERS:
            self.read[name] += args[0].numel()
        return func(*args, **(kwargs or {}))

    @property
    def passes(self) -> float:
        return sum(self.read.values()) / self.size


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A dispatch mode sees its own thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch() -> tuple[Tensor, Tensor]:
    """Large enough for several parts."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 400, 300, generator=rng), torch.randint(0, 5, (2, 400, 300), generator=rng)


def passes(loss: Loss) -> float:
    logits, target = batch()
    logits.requires_grad_()
    with Normalised(logits.numel()) as normalised:
        loss(logits, target).backward()
    return normalised.passes


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_losses_of_the_configs_normalise_once(path: Path) -> None:
    assert passes(load(path)) == 1


def test_a_sum_of_all_kinds_normalises_once() -> None:
    inner = Sum([Focal(), Boundary()], [1.0, 1.0])
    assert passes(Sum([CrossEntropy(label_smoothing=0.1), Dice(), Lovasz(), inner], [1.0, 1.0, 1.0, 1.0])) == 1


def test_the_count_would_see_a_second_pass() -> None:
    logits, _ = batch()
    with Normalised(logits.numel()) as normalised:
        torch.log_softmax(logits, 1)
        logits.softmax(1)
    assert normalised.passes == 2


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_common_offsets_are_nothing(name: str) -> None:
    """Softmax knows differences alone; 1000 in float32 costs the digits that the logits themselves lose."""
    rng = torch.Generator().manual_seed(0)
    logits, target = (
        torch.randint(-4, 4, (1, 4, 8, 8), generator=rng).float(),
        torch.randint(0, 4, (1, 8, 8), generator=rng),
    )
    near, far = (float(LOSSES[name]()(logits + offset, target)) for offset in (0, 1000))
    assert math.isclose(near, far, rel_tol=1e-4)
