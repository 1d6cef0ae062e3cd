"""Which samples a rank reads, in which order.

The training order is drawn once for all ranks and dealt out like cards: with R ranks, rank r reads positions r, r + R,
r + 2R, … So a step sees the same samples on one rank with batch 2B and on two ranks with batch B.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from perpixel.data.base import Split
from perpixel.data.loading.randomness import order_rng, sample_rng


class Key(NamedTuple):
    """What a training sample is a function of, besides the run's seed.

    Attributes:
        epoch: 0-based; it travels with the key because persistent workers would keep an old one.
        position: place in the epoch's global order, over all ranks.
        sample: the index within the split of what is read there.
    """

    epoch: int
    position: int
    sample: int


class Rank(NamedTuple):
    """This process among those that train together."""

    number: int = 0
    world: int = 1


ALONE = Rank()


class TrainSampler(Sampler[Key]):
    """A shuffled pass over ``length`` samples, shared equally by the ranks.

    Args:
        length: samples in the split.
        seed: the run's seed; order is a function of (seed, epoch) alone.
        rank: which share this process reads. What does not divide by the number of ranks is left out of the epoch,
            another part of the data each time.
    """

    def __init__(self, length: int, seed: int, rank: Rank = ALONE) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.epoch = 0
        self._resume = (0, 0)
        self.redrawn: list[tuple[int, int, int]] = []  # (epoch, first position, one behind the last)

    def __len__(self) -> int:
        return self.length // self.rank.world

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def resume(self, epoch: int, position: int) -> None:
        """Start epoch ``epoch`` at ``position``: a run that resumes within an epoch has seen what stands before."""
        self._resume = (epoch, position)

    def __iter__(self) -> Iterator[Key]:
        order = order_rng(self.seed, self.epoch).permutation(self.length)
        resumed_epoch, seen = self._resume
        first = seen // self.rank.world if self.epoch == resumed_epoch else 0
        for share in range(first, len(self)):
            position = share * self.rank.world + self.rank.number
            yield self._redraw(position, order) or Key(self.epoch, position, int(order[position]))

    def _redraw(self, position: int, order: npt.NDArray[np.int64]) -> Key | None:
        """Another sample with another augmentation where a range of positions is redrawn: a function of (seed, epoch,
        position, how often). What stood in the range before, at first or by an earlier draw, is left out, as far as
        there is anything else.
        """
        ranges = Counter((first, stop) for epoch, first, stop in self.redrawn if epoch == self.epoch)
        for (first, stop), times in ranges.items():
            if first <= position < stop:
                stood = {int(index) for index in order[first:stop]}
                for time in range(1, times):
                    stood |= {self._draw(time, place, stood).sample for place in range(first, stop)}
                return self._draw(times, position, stood)
        return None

    def _draw(self, time: int, position: int, stood: set[int]) -> Key:
        others = [index for index in range(self.length) if index not in stood] or list(range(self.length))
        beyond = time * self.length + position  # no other key of the epoch has this position
        return Key(self.epoch, beyond, others[sample_rng(self.seed, self.epoch, beyond).integers(len(others))])


class EvaluationBatches(Sampler[list[int]]):
    """Every sample exactly once over all ranks, in batches of one image size.

    Rank r takes samples r, r + R, r + 2R, …; nothing is repeated to fill the last batch, so counts are exact. Images of
    different sizes never share a batch: padding would change the predictions near their edges.

    Args:
        split: what is evaluated.
        batch_size: most samples in a batch.
        rank: which share this process reads.

    Raises:
        ValueError: there are more ranks than samples (an idle rank would wait for ever in a collective call).
    """

    def __init__(self, split: Split, batch_size: int, rank: Rank = ALONE) -> None:
        if len(split) < rank.world:
            raise ValueError(
                f"the split has {len(split)} samples for {rank.world} ranks, and each rank needs one: "
                f"set trainer.devices={max(len(split), 1)} or fewer."
            )
        share = range(rank.number, len(split), rank.world)
        sized = batch_size > 1
        self._batches = _in_batches(_by_shape(split, share) if sized else [list(share)], batch_size)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


def _by_shape(split: Split, indices: Sequence[int]) -> list[list[int]]:
    groups: dict[tuple[int, int] | None, list[int]] = defaultdict(list)
    for index in indices:
        groups[split.shape(index)].append(index)
    return list(groups.values())


def _in_batches(groups: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    return [list(group[start : start + size]) for group in groups for start in range(0, len(group), size)]
