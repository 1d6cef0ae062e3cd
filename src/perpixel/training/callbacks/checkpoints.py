"""When checkpoints are written: the best weights, and the state that training goes on from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from perpixel.config.schema import CheckpointConfig
from perpixel.training.ranks import any_rank
from perpixel.training.store import CheckpointStore

log = logging.getLogger(__name__)

VALIDATION_SHARE = 0.01
"""Of the time, for states that are written only because a validation follows."""


class Checkpoints(pl.callbacks.Checkpoint):
    """Writes the best weights after a validation that improved on all before it, and the whole state at step boundaries
    when it is due, and when training ends.

    Lightning calls callbacks of this base class last: the averaged weights are up to date by then.

    Args:
        store: where they go.
        settings: monitored score, direction and cadence.
        weights: module → the state to evaluate later; the averaged one, with EMA.
        check: called by all ranks before a state is written; raises if it is not worth keeping.
        at_start: also write the state that training starts from.
        on_saved: called on rank 0 behind every state.
    """

    def __init__(
        self,
        store: CheckpointStore,
        settings: CheckpointConfig,
        weights: Callable[[pl.LightningModule], Mapping[str, Tensor]],
        check: Callable[[pl.Trainer], None],
        at_start: bool = False,
        on_saved: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.weights = weights
        self.check = check
        self.at_start = at_start
        self.on_saved = on_saved
        self.best: float | None = None
        self._written_at = time.monotonic()
        self._written_step = 0
        self._took_s = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._written_at, self._written_step = time.monotonic(), trainer.global_step
        if self.at_start and trainer.global_step == 0:
            self.save(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the state when it is due; only behind an optimiser step, never in the middle of an accumulation."""
        if trainer.global_step > self._written_step and not trainer.fit_loop._should_accumulate():
            done = trainer.global_step == trainer.max_steps or trainer.should_stop
            if done or self._due_by_steps(trainer) or self._due_by_time(trainer):
                self.save(trainer)

    def _due_by_steps(self, trainer: pl.Trainer) -> bool:
        every = self.settings.every_n_steps
        return every is not None and trainer.global_step - self._written_step >= every

    def _due_by_time(self, trainer: pl.Trainer) -> bool:
        """Clocks differ: the ranks agree, since all of them take part in saving."""
        every = self.settings.every_minutes
        return every is not None and any_rank(trainer, time.monotonic() - self._written_at >= 60 * every)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The end of training: it can go on from here with more epochs."""
        if self._is_last_epoch(trainer):
            self.save(trainer)

    def _is_last_epoch(self, trainer: pl.Trainer) -> bool:
        progress: Any = trainer.fit_loop.epoch_progress.current
        whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        return whole and (trainer.should_stop or trainer.max_epochs in (progress.processed, None))

    def save(self, trainer: pl.Trainer) -> None:
        """Write the state now; every rank must call it."""
        began = time.monotonic()
        self.check(trainer)
        trainer.save_checkpoint(self.store.directory)
        self._saved(trainer)
        self._written_at, self._written_step = time.monotonic(), trainer.global_step
        self._took_s = self._written_at - began

    def save_alone(self, trainer: pl.Trainer) -> None:
        """Write the state during validation, which changes nothing of it; the other ranks need not take part."""
        if trainer.is_global_zero:
            content = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            self.store.write("state", content, trainer.global_step)
            self._saved(trainer)

    def _saved(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            self.on_saved()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """With several ranks, one that is told to stop while another has finished its share could not save any more.

        So they save before, but for this spend no more than ``VALIDATION_SHARE`` of the time: a state that is younger
        than that allows is near enough to go on from.
        """
        if trainer.world_size == 1 or not _fits(trainer) or trainer.fit_loop._should_accumulate():
            return
        old_enough = time.monotonic() - self._written_at >= self._took_s / VALIDATION_SHARE
        if trainer.global_step > self._written_step and any_rank(trainer, old_enough):
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights if their score is the best so far. One that is not finite never is: no class has a pixel in
        the split, say. (Weights that give no finite loss do not come as far as this, see ``NonFiniteGuard``.)
        """
        if not _fits(trainer):
            return
        score = self._score(trainer)
        if not math.isfinite(score):
            log.warning("%s is not finite at step %d: not kept as best", self.settings.monitor, trainer.global_step)
        elif self.best is None or self._better(score, self.best):
            self.best = score
            if trainer.is_global_zero:
                self.store.write("best", {"state_dict": self.weights(pl_module)}, trainer.global_step, score)
        if trainer.should_stop and not trainer.fit_loop._should_accumulate():  # within an epoch no other hook comes
            self.save(trainer)

    def _score(self, trainer: pl.Trainer) -> float:
        known = trainer.callback_metrics
        if self.settings.monitor not in known:
            raise ValueError(
                f"training.checkpoint.monitor={self.settings.monitor}: validation gives no such score, only "
                f"{', '.join(sorted(name for name in known if name.startswith('val/')))}."
            )
        return float(known[self.settings.monitor])

    def _better(self, score: float, best: float) -> bool:
        return score > best if self.settings.mode == "max" else score < best

    def state_dict(self) -> dict[str, Any]:
        """The best score goes with the state, wherever the run directory is moved."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See ``state_dict``."""
        self.best = state_dict["best"]


def _fits(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.sanity_checking
