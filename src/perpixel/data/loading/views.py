"""A fixed number of augmented views of every training sample, and what an encoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset

from perpixel.data.loading.feature_store import FeatureStore
from perpixel.data.loading.samplers import Key

FEATURE = "feature."
"""Begins the names of an encoder's maps in the store."""


class View(NamedTuple):
    """Which view of which sample."""

    sample: int
    number: int


@dataclass(frozen=True)
class Views:
    """How an epoch's samples become views: each sample shows its views in turn.

    Attributes:
        count: views of a sample.
        samples: of the training split.
        repeat: how often an epoch shows each of them.
    """

    count: int
    samples: int
    repeat: int

    def of(self, key: Key) -> View:
        """The view that is due at a place of an epoch, whose samples are numbered ``repeat`` times over."""
        time, sample = divmod(key.sample, self.samples)
        return View(sample, (key.epoch * self.repeat + time) % self.count)

    def number(self, view: View) -> int:
        """All views in one row, 0 … count · samples."""
        return view.number * self.samples + view.sample

    def view(self, number: int) -> View:
        """See ``number``."""
        number, sample = divmod(number, self.samples)
        return View(sample, number)

    def __len__(self) -> int:
        return self.count * self.samples


Stored = tuple[str, dict[str, torch.Tensor]]


class StoredViews(Dataset[Stored]):
    """What is stored of a training's views."""

    def __init__(self, store: FeatureStore, views: Views) -> None:
        self.store = store
        self.views = views

    def __getitem__(self, key: Key) -> Stored:
        return self.store.read(("train", self.views.number(self.views.of(key))))


class StoredSamples(Dataset[Stored]):
    """What is stored of a split that is scored."""

    def __init__(self, store: FeatureStore, split: str) -> None:
        self.store = store
        self.split = split

    def __getitem__(self, index: int) -> Stored:
        return self.store.read((self.split, index))


def collate_stored(samples: Sequence[Stored]) -> dict[str, Any]:
    """A batch with ``features`` in place of ``image``; all else as in ``perpixel.data.loading.batches.Batch``."""
    names, tensors = zip(*samples, strict=True)
    stacked = {part: torch.stack([each[part] for each in tensors]) for part in tensors[0]}
    features = [stacked.pop(f"{FEATURE}{level}") for level in range(sum(part.startswith(FEATURE) for part in stacked))]
    return {**stacked, "features": features, "name": list(names)}
