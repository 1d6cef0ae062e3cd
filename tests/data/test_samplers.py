from __future__ import annotations

import numpy as np
import pytest

from perpixel.data.loading.randomness import order_rng, sample_rng
from perpixel.data.loading.samplers import EvaluationBatches, Rank, TrainSampler

from .conftest import ArraySplit


def test_ranks_share_one_order() -> None:
    alone = list(TrainSampler(11, seed=3))
    shares = [list(TrainSampler(11, seed=3, rank=Rank(number, 2))) for number in range(2)]
    assert [len(share) for share in shares] == [5, 5]
    dealt = [key for pair in zip(*shares, strict=True) for key in pair]
    assert dealt == alone[:10]


def test_epochs_differ_and_repeat() -> None:
    sampler = TrainSampler(50, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert [key.sample for key in second] != [key.sample for key in first]
    assert sorted(key.sample for key in second) == list(range(50))
    assert {key.epoch for key in second} == {1}


def test_resumes_only_the_epoch_it_left() -> None:
    sampler = TrainSampler(10, seed=0)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.resume(epoch=2, position=4)
    assert list(sampler) == whole[4:]
    sampler.set_epoch(3)
    assert len(list(sampler)) == 10


def test_evaluation_sees_every_sample_once_over_odd_shares() -> None:
    split = ArraySplit(7)
    seen = [index for r in range(3) for batch in EvaluationBatches(split, 2, Rank(r, 3)) for index in batch]
    assert sorted(seen) == list(range(7))


def test_evaluation_batches_hold_one_size() -> None:
    split = ArraySplit(6, sizes=[(8, 8), (8, 9), (8, 8), (8, 9), (8, 8), (8, 8)])
    batches = list(EvaluationBatches(split, 3))
    assert batches == [[0, 2, 4], [5], [1, 3]]
    assert len(EvaluationBatches(split, 3)) == 3


def test_fewer_samples_than_ranks_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"2 samples for 3 ranks.*trainer\.devices=2"):
        EvaluationBatches(ArraySplit(2), 1, Rank(0, 3))


def test_streams_of_different_keys_differ() -> None:
    """``default_rng([7, 0])`` and ``default_rng([7, 0, 0])`` would be one stream."""
    streams = [order_rng(7, 0), sample_rng(7, 0, 0), sample_rng(7, 0, 1), sample_rng(7, 1, 0), sample_rng(8, 0, 0)]
    assert len({int(stream.integers(2**63)) for stream in streams}) == len(streams)
    assert sample_rng(7, 2, 3).random() == sample_rng(7, 2, 3).random()
    assert np.random.default_rng([7, 0]).random() == np.random.default_rng([7, 0, 0]).random()
