"""One JSON line per epoch with everything that was logged, and how fast training went."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from perpixel.tracking.files import naming, write_atomically

log = logging.getLogger(__name__)


class History(pl.Callback):
    """Appends to ``metrics.jsonl``: epoch, step, time_s since the run began, learning rate, losses and scores.

    Training speed is images per second of all ranks over the epoch's training batches, validation not counted.

    A resumed run goes on behind the lines of its finished epochs; the line of an epoch whose end was not saved goes,
    since that end is repeated. Time spent in an interrupted epoch does not count.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.perf_counter()
        self._epoch_began = 0.0
        self._trained_s = 0.0
        self._images = 0
        self._validated: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what is behind, and start the clocks: in the middle of an epoch no hook tells that one begins."""
        if trainer.is_global_zero and self.path.exists():
            progress: Any = trainer.fit_loop.epoch_progress.current
            self._go_on(progress.processed)
        self._start_clock()

    def _go_on(self, epochs: int) -> None:
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        records = [record for line in lines if (record := _record(line)) is not None]
        if len(records) < len(lines):
            log.warning("'%s': %d of its lines are cut or damaged and left out", self.path, len(lines) - len(records))
        kept = [record for record in records if record["epoch"] < epochs]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._began -= kept[-1]["time_s"] if kept else 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A new epoch; not called when training resumes within one."""
        self._validated = {}
        self._start_clock()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The line tells what was found in its own epoch, not in an earlier one."""
        if trainer.state.fn == "fit":
            self._validated = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}

    def state_dict(self) -> dict[str, Any]:
        """A validation within the epoch goes with the state."""
        return {"validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See ``state_dict``."""
        self._validated = state_dict["validated"]

    def _start_clock(self) -> None:
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
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if "/" in name and name != "img/s" and not name.startswith("val/")
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
                    **self._validated,
                }
            )

    def _write(self, line: dict[str, Any]) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
        }
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _record(line: str) -> dict[str, Any] | None:
    """An epoch's line; None for half a line, or whatever else has got into the file."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(key), int | float) for key in ("epoch", "time_s"))
    return found if whole else None
