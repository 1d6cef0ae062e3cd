"""Random streams that are pure functions of what they are for.

``SeedSequence`` pads its entropy with zeros, so ``[seed, epoch]`` and ``[seed, epoch, 0]`` would give one stream;
``spawn_key`` is appended after the padding and keeps keys of different length apart.
"""

from __future__ import annotations

import numpy as np


def order_rng(seed: int, epoch: int) -> np.random.Generator:
    """The stream that shuffles the samples of an epoch."""
    return _stream(seed, epoch)


def sample_rng(seed: int, epoch: int, position: int) -> np.random.Generator:
    """The stream of the sample at ``position`` (0-based, over all ranks) of an epoch: draws, augmentation, mixing."""
    return _stream(seed, epoch, position)


def view_rng(seed: int, sample: int, number: int) -> np.random.Generator:
    """The stream of a sample's ``number``-th fixed view, whatever the epoch."""
    return _stream(seed, sample, number, 0)


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
