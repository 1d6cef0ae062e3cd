"""A few training samples, always the same ones, to train on and to score: a sanity check of everything else."""

from __future__ import annotations

import hashlib

import numpy as np

from perpixel.data.base import DataSource, Sample, Split, SplitName


class FixedSamples(DataSource):
    """The first samples of a source's training split, frozen; val holds the same ones, and there is no test split.

    A network that cannot learn a handful of samples by heart has a fault in its data, its loss or its learning rate.

    Args:
        source: where the samples come from; what it draws at random is drawn once.
        count: how many samples.
        seed: of those draws.

    Raises:
        ValueError: fewer than one sample is asked for.
    """

    splits = ("train", "val")

    def __init__(self, source: DataSource, count: int, seed: int) -> None:
        if count < 1:
            raise ValueError(f"data.overfit={count}: give the number of samples to learn by heart, 1 or more, or null.")
        split = source.split("train")
        draws = (np.random.default_rng([seed, index]) for index in range(min(count, len(split))))
        self._split = _Frozen([split.read(index, rng) for index, rng in enumerate(draws)])
        self.labels = source.labels
        self.channels = source.channels
        self.mean, self.std = source.mean, source.std
        self.extras = source.extras

    def split(self, name: SplitName) -> Split:
        """The frozen samples, for train and val alike.

        Raises:
            ValueError: another split is asked for.
        """
        if name not in self.splits:
            raise ValueError(f"data.overfit leaves only train and val; there is no split '{name}'.")
        return self._split


class _Frozen(Split):
    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        return self.samples[index]

    def shape(self, index: int) -> tuple[int, int]:
        height, width = self.samples[index].mask.shape
        return height, width

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(f"{sample.name}{sample.image.shape}{sample.image.dtype}".encode())
            for array in sample.targets.values():
                digest.update(array.tobytes())
        return digest.hexdigest()
