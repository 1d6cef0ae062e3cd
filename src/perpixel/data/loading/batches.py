"""Samples for a loader, and how they become a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from perpixel.augment import Recipe
from perpixel.augment.targets import Targets
from perpixel.data.base import Sample, Split
from perpixel.data.loading.randomness import sample_rng, view_rng
from perpixel.data.loading.samplers import Key
from perpixel.data.loading.shared_memory import SharedBatch, channels_first
from perpixel.data.loading.timeouts import at_most, reading
from perpixel.data.loading.views import View, Views

Arrays = list[npt.NDArray[Any]]


class Batch(TypedDict):
    """What a loader gives.

    What else the source brings stands under its own name: images (B, C, H, W) as float32 in units of full scale once on
    the device, masks (B, H, W) as int64, weights (B, H, W) as float32, 1 for full scale.

    Attributes:
        image: (B, C, H, W), channels last in memory; in the source's dtype from the loader, normalised float32 once on
            the device.
        mask: (B, H, W), uint8 from the loader, int64 class indices once on the device.
        name: B sample names.
        weight: (B, H, W), only where the source brings weights of that name: what each pixel counts in the loss.
    """

    image: Tensor
    mask: Tensor
    name: list[str]
    weight: NotRequired[Tensor]


class TrainSamples(Dataset[Sample]):
    """Augmented samples; each is a pure function of (seed, key), or of (seed, view) where there are so many views."""

    def __init__(
        self, split: Split, augment: Recipe, seed: int, timeout_s: float | None = None, views: Views | None = None
    ) -> None:
        self.split = split
        self.augment = augment
        self.seed = seed
        self.timeout_s = timeout_s
        self.views = views

    def __getitem__(self, key: Key) -> Sample:
        if self.views is not None:
            return self.view(self.views.of(key))
        return self._sample(key.sample, sample_rng(self.seed, key.epoch, key.position))

    def view(self, view: View) -> Sample:
        """One of a sample's fixed views."""
        return self._sample(view.sample, view_rng(self.seed, *view))

    def _sample(self, index: int, rng: np.random.Generator) -> Sample:
        with at_most(self.timeout_s, lambda: reading(self.split.sample_name(index), self.timeout_s)):
            sample = self.split.open(index, rng)
            return Sample.of(self.augment.sample(sample.targets, rng, lambda: self._another(rng)), sample.name)

    def _another(self, rng: np.random.Generator) -> Targets:
        """A partner for mixing, from the whole split."""
        return self.split.open(int(rng.integers(len(self.split))), rng).targets


class AllViews(Dataset[Sample]):
    """All views of all training samples in one row, see :class:`perpixel.data.loading.views.Views`."""

    def __init__(self, samples: TrainSamples) -> None:
        self.samples = samples

    def __getitem__(self, number: int) -> Sample:
        assert self.samples.views is not None
        return self.samples.view(self.samples.views.view(number))


class EvaluationSamples(Dataset[Sample]):
    """Samples as they are, at their native size."""

    def __init__(self, split: Split, timeout_s: float | None = None) -> None:
        self.split = split
        self.timeout_s = timeout_s

    def __getitem__(self, index: int) -> Sample:
        with at_most(self.timeout_s, lambda: reading(self.split.sample_name(index), self.timeout_s)):
            return self.split.read(index, np.random.default_rng(index))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size; pixels keep their dtype, so that little is sent to the device.

    In a worker, what it gives becomes a batch on its way to the training process.
    """
    arrays = {name: _alike(samples, name) for name in samples[0].targets}
    names = [sample.name for sample in samples]
    if get_worker_info() is not None:
        return cast(Batch, SharedBatch(arrays, names))
    stacked = {name: channels_first(torch.from_numpy(np.stack(given))) for name, given in arrays.items()}
    return cast(Batch, {**stacked, "name": names})


def _alike(samples: Sequence[Sample], name: str) -> Arrays:
    """The arrays of one name, (H, W) or (H, W, C)."""
    arrays: Arrays = [sample.targets[name] for sample in samples]
    kinds = {f"{array.shape} {array.dtype}": sample.name for array, sample in zip(arrays, samples, strict=True)}
    if len(kinds) > 1:
        shown = " and ".join(f"{kind} ('{example}')" for kind, example in sorted(kinds.items()))
        raise ValueError(
            f"the samples of a batch differ in size or depth ({name}): {shown}. Convert the files to one depth; "
            "with images of different sizes, data.eval_batch_size=1."
        )
    return arrays
