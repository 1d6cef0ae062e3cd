"""Samples for a loader, and how they become a batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NotRequired, TypedDict, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import Dataset, get_worker_info

from perpixel.augment import Recipe
from perpixel.augment.targets import Targets
from perpixel.data.base import Sample, Split
from perpixel.data.patience import at_most, reading
from perpixel.data.randomness import sample_rng
from perpixel.data.samplers import Key


class Batch(TypedDict):
    """What a loader gives.

    What else the source brings stands under its own name: images (B, C, H, W) as float32 in units of full scale once on
    the device, masks (B, H, W) as int64, weights (B, H, W) as float32, 1 for full scale.

    Attributes:
        image: (B, C, H, W), in the source's dtype from the loader, normalised float32 once on the device.
        mask: (B, H, W), uint8 from the loader, int64 class indices once on the device.
        name: B sample names.
        weight: (B, H, W), only where the source brings weights of that name: what each pixel counts in the loss.
    """

    image: Tensor
    mask: Tensor
    name: list[str]
    weight: NotRequired[Tensor]


class TrainSamples(Dataset[Sample]):
    """Augmented samples; each is a pure function of (seed, key)."""

    def __init__(self, split: Split, augment: Recipe, seed: int, timeout_s: float | None = None) -> None:
        self.split = split
        self.augment = augment
        self.seed = seed
        self.timeout_s = timeout_s

    def __getitem__(self, key: Key) -> Sample:
        rng = sample_rng(self.seed, key.epoch, key.position)
        with at_most(self.timeout_s, lambda: reading(self.split.sample_name(key.sample), self.timeout_s)):
            sample = self.split.open(key.sample, rng)
            return Sample.of(self.augment.sample(sample.targets, rng, lambda: self._another(rng)), sample.name)

    def _another(self, rng: np.random.Generator) -> Targets:
        """A partner for mixing, from the whole split."""
        return self.split.open(int(rng.integers(len(self.split))), rng).targets


class EvaluationSamples(Dataset[Sample]):
    """Samples as they are, at their native size."""

    def __init__(self, split: Split, timeout_s: float | None = None) -> None:
        self.split = split
        self.timeout_s = timeout_s

    def __getitem__(self, index: int) -> Sample:
        with at_most(self.timeout_s, lambda: reading(self.split.sample_name(index), self.timeout_s)):
            return self.split.read(index, np.random.default_rng(index))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size; pixels keep their dtype, so that little is sent to the device."""
    stacked = {name: _stacked(samples, name) for name in samples[0].targets}
    return cast(Batch, {**stacked, "name": [sample.name for sample in samples]})


def _stacked(samples: Sequence[Sample], name: str) -> Tensor:
    """(B, H, W) of (H, W), and (B, C, H, W) of (H, W, C) arrays."""
    arrays: list[npt.NDArray[Any]] = [sample.targets[name] for sample in samples]
    kinds = {f"{array.shape} {array.dtype}": sample.name for array, sample in zip(arrays, samples, strict=True)}
    if len(kinds) > 1:
        shown = " and ".join(f"{kind} ('{example}')" for kind, example in sorted(kinds.items()))
        raise ValueError(
            f"the samples of a batch differ in size or depth ({name}): {shown}. Convert the files to one depth; "
            "with images of different sizes, data.eval_batch_size=1."
        )
    height, width, *channels = arrays[0].shape
    batch = _room((len(arrays), *channels, height, width), arrays[0].dtype.str)
    for place, array in zip(batch, arrays, strict=True):
        if channels:
            cv2.split(np.ascontiguousarray(array), list(place))  # seven times as fast as NumPy's transpose
        else:
            place[...] = array
    return torch.from_numpy(batch.copy()) if get_worker_info() is None else _shared(batch)


@lru_cache(maxsize=8)
def _room(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Memory that batch after batch is put together in: touching new memory takes longer than the work itself."""
    return np.empty(shape, dtype)


def _shared(batch: npt.NDArray[Any]) -> Tensor:
    """A copy that lies where the training process can see it, so that it is not copied on its way there.

    Raises:
        OSError: there is too little shared memory.
    """
    storage = torch.UntypedStorage._new_shared(batch.nbytes)  # as torch's own default_collate does
    kind = torch.from_numpy(np.empty(0, batch.dtype)).dtype
    shared = torch.empty(0, dtype=kind).set_(storage).view(batch.shape)
    if get_sharing_strategy() != "file_descriptor":
        return shared.copy_(torch.from_numpy(batch))
    file, _ = storage._share_fd_cpu_()  # the storage's own: it closes it
    left = memoryview(batch).cast("B")
    while left:  # writing takes half as long as copying, which would ask the kernel for page after page
        left = left[os.pwrite(file, left, batch.nbytes - len(left)) :]
    return shared
