"""Means of the training losses over an epoch, exact through interruptions and over ranks."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from perpixel.training.ranks import from_all_ranks


class EpochMeans(pl.Callback):
    """Logs the mean over the epoch's samples of everything that ``training_step`` returns under ``logged``.

    Lightning's own epoch means start anew in a resumed epoch. These travel with the checkpoint, as sums in float64: of
    float32 values those are exact, so it does not matter where they were cut, or which rank added them.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._samples = 0
        self._before_validation: tuple[dict[str, float], int] = ({}, 0)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A rank that stops during validation saves alone, so the sums are added up while all are here."""
        if trainer.state.fn == "fit":
            self._before_validation = _added_up(trainer, self._sums, self._samples)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the last epoch. Not called when training resumes within one."""
        self._sums, self._samples = {}, 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a batch's values, weighted with its size, on the device they are on."""
        size = len(batch["mask"])
        self._samples += size
        for name, value in outputs["logged"].items():
            added = _in_float64(value.detach()) * size
            self._sums[name] = self._sums[name].to(added.device) + added if name in self._sums else added

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log them; callbacks further down the list see them."""
        sums, samples = _added_up(trainer, self._sums, self._samples)
        for name, value in sums.items():
            pl_module.log(name, value / samples)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The sums over all ranks."""
        sums, samples = self._before_validation if trainer.validating else _added_up(trainer, self._sums, self._samples)
        checkpoint["epoch_means"] = {"sums": sums, "samples": samples}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rank 0 goes on from the sums of all."""
        if trainer.is_global_zero:
            saved = checkpoint["epoch_means"]
            self._samples = saved["samples"]
            self._sums = {name: torch.tensor(value, dtype=torch.float64) for name, value in saved["sums"].items()}


def _in_float64(value: Tensor) -> Tensor:
    """Apple's GPUs have no float64."""
    return value.cpu().double() if value.device.type == "mps" else value.double()


def _added_up(trainer: pl.Trainer, sums: dict[str, Tensor], samples: int) -> tuple[dict[str, float], int]:
    mine = {name: float(value) for name, value in sums.items()}
    total: dict[str, float] = {}
    count = 0
    for theirs, seen in from_all_ranks(trainer, (mine, samples)):
        count += seen
        for name, value in theirs.items():
            total[name] = total.get(name, 0.0) + value
    return total, count
