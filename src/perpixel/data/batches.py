"""Samples for a loader, and how they become a batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import Dataset, get_worker_info

from perpixel.augment import Recipe
from perpixel.augment.targets import Targets
from perpixel.data.base import Sample, Split
from perpixel.data.patience import DataLost, at_most, reading
from perpixel.data.randomness import sample_rng
from perpixel.data.samplers import Key

Arrays = list[npt.NDArray[Any]]
ALIGNED = 64
"""Bytes at a multiple of which every array of a parcel begins."""

NO_SHARED_MEMORY = (
    "a data worker has no shared memory left to hand its batch over: allow more of it (docker run --shm-size=2g), or "
    "take fewer workers (data.num_workers; 0 needs none) or smaller batches. The training can go on with "
    "resume=<its directory>."
)


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
    """Stack samples of one size; pixels keep their dtype, so that little is sent to the device.

    In a worker, what it gives becomes a batch on its way to the training process.
    """
    arrays = {name: _alike(samples, name) for name in samples[0].targets}
    names = [sample.name for sample in samples]
    if get_worker_info() is not None:
        return cast(Batch, Parcel(arrays, names))
    stacked = {name: _channels_first(torch.from_numpy(np.stack(given))) for name, given in arrays.items()}
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


def _channels_first(whole: Tensor) -> Tensor:
    """(B, H, W) as it is, (B, H, W, C) as (B, C, H, W), which stays in memory as it was: channels last."""
    return whole.permute(0, 3, 1, 2) if whole.dim() == 4 else whole


class Parcel:
    """A batch for another process: all arrays in one piece of memory that both see, and one handle to pass for it.

    To pass a handle takes half a millisecond. So does copying some megabytes into new memory, which the kernel finds
    page by page; they are written there instead.

    Args:
        arrays: B of (H, W) or (H, W, C), by name.
        names: of the samples.

    Raises:
        DataLost: there is too little shared memory.
    """

    def __init__(self, arrays: Mapping[str, Arrays], names: list[str]) -> None:
        self.names = names
        self.layout: list[Place] = []
        size = 0
        for name, given in arrays.items():
            self.layout.append(Place(name, size, given[0].dtype.str, (len(given), *given[0].shape)))
            size += math.ceil(sum(array.nbytes for array in given) / ALIGNED) * ALIGNED
        try:
            self._fill(size, arrays)
        except (OSError, RuntimeError) as error:
            raise DataLost(f"{NO_SHARED_MEMORY} ({error})") from error

    def _fill(self, size: int, arrays: Mapping[str, Arrays]) -> None:
        storage = torch.UntypedStorage._new_shared(size)  # as torch's own default_collate does
        self.whole = torch.empty(0, dtype=torch.uint8).set_(storage)
        file = storage._share_fd_cpu_()[0] if get_sharing_strategy() == "file_descriptor" else None  # the storage's own
        for place, given in zip(self.layout, arrays.values(), strict=True):
            for number, array in enumerate(given):
                self._put(np.ascontiguousarray(array).data.cast("B"), place.start + number * array.nbytes, file)

    def _put(self, pixels: memoryview, start: int, file: int | None) -> None:
        end = start + pixels.nbytes
        if file is None:
            self.whole.numpy()[start:end] = pixels
        else:
            while pixels:
                pixels = pixels[os.pwrite(file, pixels, end - len(pixels)) :]

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.whole, self.layout, self.names)


class Place(NamedTuple):
    """Where an array of a parcel lies: its name, first byte, dtype and shape."""

    name: str
    start: int
    dtype: str
    shape: tuple[int, ...]


def _opened(whole: Tensor, layout: list[Place], names: list[str]) -> Batch:
    """The batch in a parcel."""
    batch: dict[str, Any] = {"name": names}
    for name, start, dtype, shape in layout:
        array = np.frombuffer(whole.numpy().data, dtype, math.prod(shape), start).reshape(shape)
        batch[name] = _channels_first(torch.from_numpy(array))
    return cast(Batch, batch)
