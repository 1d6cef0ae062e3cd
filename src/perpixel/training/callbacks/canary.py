"""Scores of a few fixed samples after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from perpixel.labels import LabelSpace
from perpixel.metrics import SegmentationMetrics
from perpixel.training.callbacks.ema import EMA


class CanaryScores(pl.Callback):
    """Logs ``canary/mIoU`` and its relatives after every epoch, whether or not the validation split is scored then.

    The weights are those that validation would use. The samples are few: every rank scores all of them, each at its own
    size, and nothing is exchanged; what rank 0 found is what is written.

    Args:
        labels: of the masks.
        batches: gives the samples as batches, as a loader does; called after every epoch.
    """

    def __init__(self, labels: LabelSpace, batches: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self.labels = labels
        self.batches = batches

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score and log."""
        scores = self._scores(trainer, pl_module)
        named = {f"canary/{name}": value.float() for name, value in scores.items()}
        pl_module.log_dict(named, on_step=False, on_epoch=True, sync_dist=False, batch_size=1)

    def _scores(self, trainer: Any, pl_module: pl.LightningModule) -> dict[str, torch.Tensor]:
        metric = SegmentationMetrics(self.labels).to(pl_module.device)
        metric.sync_on_compute = False  # the other ranks are not asked
        average = next((callback for callback in trainer.callbacks if isinstance(callback, EMA)), None)
        with torch.no_grad(), evaluating(pl_module), _averaged(average, pl_module):
            for batch in self.batches():
                moved = trainer.datamodule.transfer_batch_to_device(dict(batch), pl_module.device, 0)
                ready = trainer.datamodule.on_after_batch_transfer(moved, 0)
                with trainer.precision_plugin.val_step_context():
                    metric.update(pl_module(ready["image"]), ready["mask"])
        return metric.compute()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every part then has its own mode back (frozen parts may be kept in another)."""
    modes = {part: part.training for part in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def _averaged(average: EMA | None, pl_module: pl.LightningModule) -> Iterator[None]:
    if average is None:
        yield
        return
    with average.swapped_in(pl_module):
        yield
