"""One JSON line per epoch with everything that was logged, and how fast training went."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class History(pl.Callback):
    """Appends to ``metrics.jsonl``: epoch, step, time_s since the run began, learning rate, losses and scores.

    Training speed is images per second of all ranks over the epoch's training batches, validation not counted.

    Args:
        path: the file; an existing one is continued.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.perf_counter()
        self._epoch_began = 0.0
        self._trained_s = 0.0
        self._images = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_began, self._trained_s, self._images = time.perf_counter(), 0.0, 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count images; show the speed in the progress bar."""
        self._images += len(batch["mask"]) * trainer.world_size
        self._trained_s = time.perf_counter() - self._epoch_began
        pl_module.log("img/s", self._speed(), prog_bar=True, logger=False, on_step=True, on_epoch=False, batch_size=1)

    def _speed(self) -> float:
        return self._images / self._trained_s if self._trained_s else 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's line; validation has already run. The reduction over ranks needs every rank here."""
        logged = {
            name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name and name != "img/s"
        }
        if trainer.is_global_zero:
            self._write(
                {
                    "epoch": trainer.current_epoch,
                    "step": trainer.global_step,
                    "time_s": round(time.perf_counter() - self._began, 3),
                    "lr": max(group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups),
                    "train/images_per_s": round(self._speed(), 2),
                    **logged,
                }
            )

    def _write(self, line: dict[str, Any]) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")
