"""Samples for a loader, and how they become a batch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, cast

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
    """(B, H, W) of (H, W), and (B, C, H, W) of (H, W, C) arrays, which stay in that order: channels last."""
    arrays: list[npt.NDArray[Any]] = [sample.targets[name] for sample in samples]
    kinds = {f"{array.shape} {array.dtype}": sample.name for array, sample in zip(arrays, samples, strict=True)}
    if len(kinds) > 1:
        shown = " and ".join(f"{kind} ('{example}')" for kind, example in sorted(kinds.items()))
        raise ValueError(
            f"the samples of a batch differ in size or depth ({name}): {shown}. Convert the files to one depth; "
            "with images of different sizes, data.eval_batch_size=1."
        )
    whole = _joined(arrays) if get_worker_info() is None else _shared(arrays)
    return whole.permute(0, 3, 1, 2) if whole.dim() == 4 else whole


def _joined(arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _shared(arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
    """The arrays joined where the training process can see them, so that they are not copied on their way there.

    Raises:
        OSError: there is too little shared memory.
    """
    shape, kind = (len(arrays), *arrays[0].shape), torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype
    size = math.prod(shape) * kind.itemsize
    storage = torch.UntypedStorage._new_shared(size)  # as torch's own default_collate does
    whole = torch.empty(0, dtype=kind).set_(storage).view(shape)
    if get_sharing_strategy() != "file_descriptor":
        return whole.copy_(_joined(arrays))
    file, _ = storage._share_fd_cpu_()  # the storage's own: it closes it
    for place, array in enumerate(arrays):
        left = memoryview(np.ascontiguousarray(array)).cast("B")
        end = (place + 1) * len(left)
        while left:  # writing takes half as long as copying, which would ask the kernel for page after page
            left = left[os.pwrite(file, left, end - len(left)) :]
    return whole
