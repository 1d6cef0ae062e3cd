"""One JSON line per epoch, and per validation within one: all that was logged, and how fast training went."""

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

    An epoch's line holds the validation at its end, if there was one. A validation within the epoch has a line of its
    own, without means over the epoch.

    Training speed is images per second of all ranks over the epoch's training batches, validation not counted.

    A resumed run goes on behind the lines of its finished epochs and validations; the line of an epoch whose end was
    not saved goes, since that end is repeated. Time spent in an interrupted epoch does not count.

    Args:
        path: the file.

    Attributes:
        validated_step: optimiser steps behind the last validation; -1 before the first one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.perf_counter()
        self._epoch_began = 0.0
        self._trained_s = 0.0
        self._images = 0
        self._validated: dict[str, float] = {}  # the last one, while it has no line yet
        self.validated_step = -1
        self._repeats = False

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Whether the validation behind the checkpoint's step is made once more, see ``ExactResume``."""
        self._repeats = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["current"]["ready"] > 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what is behind, and start the clocks: in the middle of an epoch no hook tells that one begins."""
        if trainer.is_global_zero and self.path.exists() and not trainer.should_stop:  # else nothing is repeated
            progress: Any = trainer.fit_loop.epoch_progress.current
            self._go_on(progress.processed, trainer.global_step - self._repeats)
        self._start_clock()

    def _go_on(self, epochs: int, step: int) -> None:
        """Keep the lines of whole epochs, and of the validations up to a step in the epoch that is open."""
        records = self._records()
        kept = [record for record in records if record["epoch"] < epochs]
        kept += [
            {key: value for key, value in record.items() if not _is_mean(key)}
            for record in records
            if record["epoch"] == epochs and record.get("step", 0) <= step and _is_validation(record)
        ]
        self._rewrite(kept)
        self._began -= kept[-1]["time_s"] if kept else 0.0

    def _records(self) -> list[dict[str, Any]]:
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.exists() else []
        records = [record for line in lines if (record := _record(line)) is not None]
        if len(records) < len(lines):
            log.warning("'%s': %d of its lines are cut or damaged and left out", self.path, len(lines) - len(records))
        return records

    def _rewrite(self, records: list[dict[str, Any]]) -> None:
        write_atomically(self.path, "".join(json.dumps(_finite(record)) + "\n" for record in records))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A new epoch; not called when training resumes within one."""
        self._start_clock()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The epoch goes on behind a validation: that gets a line of its own."""
        if self._validated and trainer.is_global_zero:
            self._write({**self._where(trainer), **self._validated})
        self._validated = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was found until it is known whether the epoch ends here."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
            self.validated_step = trainer.global_step

    def add_end(self, trainer: pl.Trainer, found: dict[str, float]) -> None:
        """Write down a validation of the weights that training ended with, made when it was over; rank 0 calls."""
        self.validated_step = trainer.global_step
        records = self._records()
        if not records or records[-1].get("step") != trainer.global_step:
            began = max(trainer.fit_loop.epoch_progress.current.started - 1, 0)  # type: ignore[attr-defined]
            spent = records[-1]["time_s"] if records else 0.0
            records.append({"epoch": began, "step": trainer.global_step, "time_s": spent})
        records[-1] |= found
        self._rewrite(records)

    def state_dict(self) -> dict[str, Any]:
        """Which step was validated last goes with the state."""
        return {"validated_step": self.validated_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See ``state_dict``."""
        self.validated_step = state_dict.get("validated_step", -1)

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
        logged = {name: float(v) for name, v in trainer.callback_metrics.items() if _is_mean(name) and name != "img/s"}
        if trainer.is_global_zero:
            speed = {"train/images_per_s": round(self._speed(), 2)}
            self._write({**self._where(trainer), **speed, **logged, **self._validated})
        self._validated = {}

    def _where(self, trainer: pl.Trainer) -> dict[str, Any]:
        return {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "time_s": round(time.perf_counter() - self._began, 3),
            "lr": max(group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups),
        }

    def _write(self, line: dict[str, Any]) -> None:
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(line)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _is_mean(name: str) -> bool:
    """What is of an epoch as a whole: training's means, and the scores of the canary."""
    return "/" in name and not name.startswith("val/")


def _is_validation(record: dict[str, Any]) -> bool:
    return any(key.startswith("val/") for key in record)


def _finite(line: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()
    }


def _record(line: str) -> dict[str, Any] | None:
    """An epoch's line; None for half a line, or whatever else has got into the file."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(key), int | float) for key in ("epoch", "time_s"))
    return found if whole else None
