"""A part of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perpixel.data.base import Sample, Split, SplitName
from perpixel.data.hashing import digest


class Subset(Split):
    """Some samples of another split, in a given order."""

    def __init__(self, split: Split, indices: Sequence[int]) -> None:
        self.split = split
        self.indices = np.asarray(indices, np.int64)  # one block: workers share it, and copy no million objects

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index`` of the part."""
        return self.split.read(int(self.indices[index]), rng)

    def open(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index`` of the part."""
        return self.split.open(int(self.indices[index]), rng)

    def shape(self, index: int) -> tuple[int, int] | None:
        """(H, W) of sample ``index`` of the part."""
        return self.split.shape(int(self.indices[index]))

    def sample_name(self, index: int) -> str:
        """The sample's name in the whole split."""
        return self.split.sample_name(int(self.indices[index]))

    @property
    def fixed(self) -> bool:
        """As the whole split."""
        return self.split.fixed

    def conditions(self, index: int) -> Mapping[str, str]:
        """Those of the sample in the whole split."""
        return self.split.conditions(int(self.indices[index]))

    def verify(self, use: SplitName | None = None) -> None:
        """Look at the whole split's labels."""
        self.split.verify(use)

    def fingerprint(self) -> str:
        """Of the whole split's content and the choice."""
        return digest(self.split.fingerprint(), *map(str, self.indices))
