"""What a training is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch import nn

from perpixel.config.schema import TrainerConfig
from perpixel.labels import LabelSpace
from perpixel.metrics import PixelMetric
from perpixel.training.callbacks import NonFinite
from perpixel.training.module import MakeOptimizer, MakeSchedule
from perpixel.training.protocols import TrainableLoss
from perpixel.uncertainty import Conditions


@dataclass(frozen=True)
class Experiment:
    """The objects of one training.

    Attributes:
        model: see ``SegmentationModule``.
        loss: see ``SegmentationModule``.
        labels: of the masks.
        data: its loaders.
        splits: names of the splits that exist.
        make_optimizer, make_schedule, final_metrics: see ``SegmentationModule``.
        loggers: Lightning loggers, beside the files that every run writes.
        fit_callbacks: further callbacks while training.
        val_callbacks: callbacks of the final evaluation on val.
        on_look: called with a split's name before it is scored for the record.
        pixels: a split's name → how many labelled pixels it has; asked where only a part of it is scored.
        on_rollback: called when a step was not finite and training goes back; all ranks call it.
        conditions: a split's name → under what its images were taken (see ``write_scores``).
        baselines: given the splits that were scored, what simple guesses score there (see ``write_scores``).
    """

    model: nn.Module
    loss: TrainableLoss
    labels: LabelSpace
    data: pl.LightningDataModule
    splits: Sequence[str]
    make_optimizer: MakeOptimizer
    make_schedule: MakeSchedule
    final_metrics: Sequence[PixelMetric] = ()
    loggers: Sequence[Logger] = ()
    fit_callbacks: Sequence[Callback] = ()
    val_callbacks: Sequence[Callback] = ()
    on_look: Callable[[str], None] = field(default=lambda split: None)
    pixels: Callable[[str], int] = field(default=lambda split: 0)
    on_rollback: Callable[[NonFinite], None] = field(default=lambda found: None)
    baselines: Callable[[Sequence[str]], Mapping[str, Any]] = field(default=lambda splits: {})
    conditions: Callable[[str], Conditions] = field(default=lambda split: Conditions())


def trainer_arguments(trainer: TrainerConfig) -> dict[str, Any]:
    """What Lightning's trainers here have in common: loaders shard themselves; only ``fit`` profiles and saves."""
    return {**asdict(trainer), "use_distributed_sampler": False, "enable_checkpointing": False, "profiler": None}
