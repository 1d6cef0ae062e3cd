"""The LightningDataModule: samples → augmentation → batches, the same whatever the workers and ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perpixel.augment import Recipe
from perpixel.config import together
from perpixel.config.ranges import normalisation_faults
from perpixel.data.base import DataSource, Sample, Split, SplitName
from perpixel.data.files.inspection import verify_splits
from perpixel.data.loading.batches import AllViews, Batch, EvaluationSamples, TrainSamples, collate
from perpixel.data.loading.canary import Choice, choose_canary, outside_canary
from perpixel.data.loading.feature_store import FeatureStore
from perpixel.data.loading.loader import TimeoutLoader
from perpixel.data.loading.samplers import EvaluationBatches, Rank, TrainSampler
from perpixel.data.loading.subset import Subset
from perpixel.data.loading.timeouts import BACKSTOP_S
from perpixel.data.loading.views import FEATURE, StoredSamples, StoredViews, Views, collate_stored
from perpixel.data.loading.worker import prepare_worker
from perpixel.inference.images import full_scale, to_unit_range
from perpixel.spec import Normalise


class DataModule(LightningDataModule):
    """Loaders over a data source.

    Training batches are shuffled, augmented and equal in size (the incomplete last one is dropped); evaluation batches
    hold every sample once, unaugmented, at its native size. World size and rank are the trainer's, which must run with
    ``use_distributed_sampler=False``. Normalisation happens on the device, in ``on_after_batch_transfer``.

    Args:
        source: what is read.
        augment: what a training sample goes through; its padding must be the source's ``labels.fill``.
        batch_size: training samples per step and rank.
        eval_batch_size: evaluation samples per step and rank; only images of one size share a batch.
        num_workers: loader processes per rank; 0 reads in the training process. Results do not depend on it.
        seed: order, draws and augmentation are functions of it.
        timeout_s: a batch that is not there after so many seconds is an error, which names the sample where it can;
            None waits for ever.
        limit: use only this many training samples, a fixed choice by the seed; None uses all.
        repeat: how often an epoch shows each training sample, augmented anew each time: with few images an epoch would
            be a step or two.
        views: augmented views of a training sample, shown in turn, each a function of seed, sample and its number; None
            augments anew at every reading.
        canary: samples that are never trained on and can be read by ``canary_batches``: how many validation samples,
            or names, or a file of names (see ``perpixel.data.loading.canary``); None has none.
        mean, std: per channel, in units of full scale, in place of the source's (the statistics that pretrained
            weights expect, say).

    Raises:
        ValueError: the recipe pads masks with a value that is not the source's ignore value, or an argument is out of
            its range.
    """

    def __init__(
        self,
        source: DataSource,
        augment: Recipe,
        *,
        batch_size: int,
        eval_batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        timeout_s: float | None = None,
        limit: int | None = None,
        repeat: int = 1,
        views: int | None = None,
        canary: Choice | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        _at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size, repeat=repeat)
        _at_least(1, limit=1 if limit is None else limit, views=1 if views is None else views)
        _at_least(0, num_workers=num_workers, seed=seed)
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"data.timeout_s={timeout_s}: give the seconds a batch may take, or null for no limit.")
        if augment.fill != source.labels.fill:
            raise ValueError(
                f"the augmentation pads masks with {augment.fill}, but the data's pixels without label hold "
                f"{source.labels.fill}: build the recipe with fill={source.labels.fill}."
            )
        self.source = source
        self.augment = augment
        augment.check_channels(source.channels)
        augment.check_classes(source.labels.names)
        augment.expect(source.extras)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.timeout_s = timeout_s
        self.seed = seed
        self.limit = limit
        self.repeat = repeat
        self.views = views
        self.canary = None if canary is None else choose_canary(source, canary)
        self.normalise = Normalise(*_per_channel(source, mean, std))
        self._features: FeatureStore | None = None
        self._sampler: TrainSampler | None = None
        self._resume = (0, 0)
        self._redrawn: list[tuple[int, int, int]] = []

    def prepare_data(self) -> None:
        """Check the labels of all splits, before anything is computed (in one process only).

        Raises:
            BadFiles: lists the faulty files of all splits.
            ValueError: a split breaks the label policy as a whole, or is of no use to a training.
        """
        training = self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING
        verify_splits(self.source, training)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented batches: dicts as ``Batch`` says."""
        samples = self._train_samples()
        split, rank = samples.split, self._rank()
        self._sampler = TrainSampler(len(split), self.seed, rank)
        self._sampler.resume(*self._resume)
        self._sampler.redrawn = self._redrawn
        if self.trainer is not None:
            # Worker processes prefetch before Lightning calls set_epoch, and even before it restores its own counters.
            finished = _processed(self.trainer.fit_loop.epoch_progress.current)
            self._sampler.set_epoch(max(finished, self._resume[0]))
        batching = {"sampler": self._sampler, "batch_size": self._step_size(len(split), rank), "drop_last": True}
        if self._features is not None and samples.views is not None:
            return self._stored_loader(StoredViews(self._features, samples.views), **batching)
        return self._loader(samples, **batching)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation samples, each once."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """The test samples, each once."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, name: SplitName) -> DataLoader[Sample]:
        """The samples of any split, each once, at native size and without augmentation."""
        split = self.source.split(name)
        batches = EvaluationBatches(split, self.eval_batch_size, self._rank())
        fitting = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if fitting and self._features is not None and name in self._features:
            return self._stored_loader(StoredSamples(self._features, name), batch_sampler=batches)
        return self._loader(EvaluationSamples(split, self.timeout_s), batch_sampler=batches)

    def canary_batches(self) -> Iterator[Batch]:
        """The canary samples, one a batch, at native size and without augmentation; read in this process."""
        assert self.canary is not None, "no canary was chosen"
        samples = EvaluationSamples(self.canary)
        return (collate([samples[index]]) for index in range(len(self.canary)))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalise on the device, after the small integers have travelled."""
        ready: dict[str, Any] = {**batch, "mask": batch["mask"].long()}
        if "image" in batch:  # else its features are known
            ready["image"] = self.normalise(to_unit_range(batch["image"]))
        for name, kind in self.source.extras.items():
            ready[name] = ready[name].long() if kind == "mask" else ready[name].float() / full_scale(ready[name])
        return cast(Batch, ready)

    def cache_features(
        self, encode: Callable[[Batch], Sequence[Tensor]], path: Path, check: Callable[[int], None]
    ) -> int:
        """Read all views of the training samples and all validation samples once, and keep what ``encode`` makes of
        them: from then on, while training, batches hold ``features`` in place of ``image``.

        Args:
            encode: a batch as the loaders give it → tensors (B, …).
            path: of the file.
            check: called with the bytes that all of them will take, from the first batch's.

        Returns:
            Samples that were read; 0 where all was there already, or no number of views is set.
        """
        samples = self._train_samples()
        if self._features is not None or samples.views is None:
            return 0
        size, total = self.eval_batch_size, len(samples.views)
        parts: list[tuple[str, Dataset[Sample], list[list[int]]]] = [
            ("train", AllViews(samples), [[*range(i, min(i + size, total))] for i in range(0, total, size)])
        ]
        if "val" in self.source.splits:
            split = self.source.split("val")
            batches = [*EvaluationBatches(split, size)]
            parts.append(("val", EvaluationSamples(split, self.timeout_s), batches))
        count = sum(len(indices) for _, _, batches in parts for indices in batches)
        store = FeatureStore(path)
        try:
            for name, dataset, batches in parts:
                for indices, batch in zip(batches, self._loader(dataset, batch_sampler=batches), strict=True):
                    first = store.bytes == 0
                    _keep(store, name, indices, cast(Batch, batch), encode(cast(Batch, batch)))
                    if first:
                        check(store.bytes * count // len(indices))
        except BaseException:
            store.remove()
            raise
        store.finish()
        self._features = store
        return count

    def forget_features(self) -> None:
        """Delete what ``cache_features`` keeps."""
        if self._features is not None:
            self._features.remove()
            self._features = None

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each split's content, by split name (and of the canary's); ``limit`` counts."""
        splits = {name: self.source.split(name) for name in self.source.splits}
        splits |= {"canary": self.canary} if self.canary is not None else {}  # type: ignore[dict-item]
        return {name: split.fingerprint() for name, split in (splits | {"train": self._training_split()}).items()}

    def state_dict(self) -> dict[str, Any]:
        """How far training is: the epoch, and how many of its samples all ranks together have seen."""
        if self.trainer is None or self._sampler is None:
            return {}
        loop = self.trainer.fit_loop
        epoch = _processed(loop.epoch_progress.current)  # the one under way, or the next
        batches = _processed(loop.epoch_loop.batch_progress.current) if epoch == self._sampler.epoch else 0
        seen = batches * min(self.batch_size, len(self._sampler)) * self._sampler.rank.world
        return {"epoch": epoch, "seen": seen, "redrawn": [list(range_) for range_ in self._redrawn]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume within an epoch: it goes on behind the samples that were trained on."""
        self._resume = (state_dict["epoch"], state_dict["seen"])
        saved = [(epoch, first, stop) for epoch, first, stop in state_dict["redrawn"]]
        self._redrawn[:] = saved + self._redrawn[len(saved) :]  # those since the checkpoint stay
        if self._sampler is not None:
            self._sampler.resume(*self._resume)

    def redraw(self, epoch: int, first: int, last: int) -> None:
        """Let other samples take the place of training batches, in all ranks, whenever that epoch is run from now on.

        Args:
            epoch: 0-based.
            first, last: their indices in the epoch, last included.
        """
        assert self._sampler is not None, "nothing has been trained yet"
        together = min(self.batch_size, len(self._sampler)) * self._sampler.rank.world
        self._redrawn.append((epoch, first * together, (last + 1) * together))

    def _train_samples(self) -> TrainSamples:
        split = self._training_split()
        views = Views(self.views, len(split), self.repeat) if self.views is not None else None
        if self.repeat > 1:
            split = Subset(split, [*range(len(split))] * self.repeat)
        return TrainSamples(split, self.augment, self.seed, self.timeout_s, views)

    def _training_split(self) -> Split:
        split = outside_canary(self.source, self.canary)
        if self.limit is None or self.limit >= len(split):
            return split
        chosen = np.random.default_rng(self.seed).permutation(len(split))[: self.limit]
        return Subset(split, [int(index) for index in chosen])

    def _step_size(self, samples: int, rank: Rank) -> int:
        share = samples // rank.world
        if share == 0:
            raise ValueError(
                f"the training split has {samples} samples for {rank.world} ranks: add images to data.source, or set "
                f"trainer.devices={max(samples, 1)}."
            )
        if share < self.batch_size:
            warnings.warn(
                f"data.batch_size={self.batch_size} is larger than the {share} training samples of a rank; "
                f"training uses batches of {share}.",
                stacklevel=2,
            )
        return min(self.batch_size, share)

    def _loader(self, samples: Dataset[Sample], **batching: Any) -> DataLoader[Sample]:
        return TimeoutLoader(
            samples,
            collate_fn=collate,
            num_workers=self.num_workers,
            timeout=(self.timeout_s or -BACKSTOP_S) + BACKSTOP_S if self.num_workers else 0,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and isinstance(self.trainer.accelerator, CUDAAccelerator),
            worker_init_fn=prepare_worker,
            generator=torch.Generator().manual_seed(self.seed),  # the global stream stays the model's
            **batching,
        )

    def _stored_loader(self, samples: Dataset[Any], **batching: Any) -> DataLoader[Any]:
        """Reading what is stored costs less than handing it over from a worker would."""
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(samples, collate_fn=collate_stored, generator=generator, **batching)

    def _rank(self) -> Rank:
        return Rank(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Rank()


def _keep(store: FeatureStore, name: str, indices: Sequence[int], batch: Batch, features: Sequence[Tensor]) -> None:
    """Put a batch into the store sample by sample: its features, and all else but the image."""
    levels = {f"{FEATURE}{level}": each for level, each in enumerate(features)}
    others = {part: each for part, each in batch.items() if isinstance(each, Tensor) and part != "image"}
    for row, index in enumerate(indices):
        parts: Mapping[str, Tensor] = {part: each[row] for part, each in {**levels, **others}.items()}
        store.add((name, index), batch["name"][row], parts)


def _processed(progress: Any) -> int:
    """How many epochs or batches are behind; ``completed`` lags behind in checkpoints that hooks write."""
    return int(progress.processed)


def _at_least(floor: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < floor:
            raise ValueError(f"data.{name}={value}, but it must be at least {floor}.")


def _per_channel(
    source: DataSource, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    found = [
        *normalisation_faults("data", mean, std, source.channels),
        *normalisation_faults(
            "data.source", source.mean if mean is None else None, source.std if std is None else None, source.channels
        ),
    ]
    if found:
        raise together(found)
    means, stds = source.mean if mean is None else mean, source.std if std is None else std
    return tuple(map(float, means)), tuple(map(float, stds))
