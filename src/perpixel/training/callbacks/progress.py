"""How far a training is: a bar where somebody looks at a terminal, and one plain line an epoch everywhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar

log = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Whether a bar can be redrawn: in files and pipes it would leave a line for each step."""
    return bool(sys.stderr is not None and sys.stderr.isatty())


class Bar(TQDMProgressBar):
    """Lightning's bar with the epoch of how many; it leaves nothing behind."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(f"epoch {_of_how_many(trainer)}")


class EpochLines(pl.Callback):
    """Logs ``epoch 3/25: loss 0.412, val mIoU 0.871, 13.1 images/s, 4 min left``; comes behind ``History``."""

    def __init__(self) -> None:
        self._began = 0.0
        self._from_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time left is told by the pace of this process: a resumed run's was another."""
        self._began, self._from_step = time.perf_counter(), trainer.global_step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say the line, on the first rank."""
        if not trainer.is_global_zero:
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        parts = [
            f"{shown} {found[name]:.{digits}f}{unit}"
            for name, shown, digits, unit in (
                ("train/loss", "loss", 3, ""),
                ("val/mIoU", "val mIoU", 3, ""),
                ("img/s", "", 1, " images/s"),
            )
            if name in found
        ]
        log.info("epoch %s: %s", _of_how_many(trainer), ", ".join([*map(str.strip, parts), *self._left(trainer)]))

    def _left(self, trainer: pl.Trainer) -> list[str]:
        total, done = trainer.estimated_stepping_batches, trainer.global_step
        if total == float("inf") or done <= self._from_step or done >= total:
            return []
        seconds = (time.perf_counter() - self._began) / (done - self._from_step) * (total - done)
        return [f"{seconds:.0f} s left" if seconds < 90 else f"{seconds / 60:.0f} min left"]


def _of_how_many(trainer: pl.Trainer) -> str:
    most = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
    return f"{trainer.current_epoch + 1}{f'/{most}' if most else ''}"
