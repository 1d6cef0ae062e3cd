"""Stopping at a step boundary when the system asks."""

from __future__ import annotations

import logging
import signal
from typing import Any

import lightning.pytorch as pl

from perpixel.training.callbacks.checkpoints import Checkpoints
from perpixel.training.ranks import any_rank
from perpixel.training.signals import Interrupted, Signals

log = logging.getLogger(__name__)


class StopOnSignal(pl.Callback):
    """On a signal: finish the optimiser step, write a checkpoint, exit. A second signal stops at once.

    The ranks agree at each step, so that all of them stop at the same one. A validation is broken off; the resumed run
    repeats it.

    Args:
        signals: notes them.
        checkpoints: writes the state; None leaves without one.
    """

    def __init__(self, signals: Signals, checkpoints: Checkpoints | None) -> None:
        self.signals = signals
        self.checkpoints = checkpoints

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on a signal waits for the next boundary."""
        self.signals.deferred = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Behind training nothing is lost by leaving at once."""
        self.signals.deferred = False
        if self.signals.received:
            self._leave(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Training may begin anew, from an earlier state."""
        self.signals.deferred = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop here if any rank was told to."""
        if not trainer.fit_loop._should_accumulate() and any_rank(trainer, bool(self.signals.received)):
            if self.checkpoints is not None:
                self.checkpoints.save(trainer)
            self._leave(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop without asking the others: ranks have different numbers of batches here, and get the signal, too.

        Gradients that are being accumulated are in no state: then the next step boundary is waited for.
        """
        if not self.signals.received or trainer.sanity_checking or trainer.fit_loop._should_accumulate():
            return
        if self.checkpoints is not None and trainer.world_size == 1:  # several ranks have written theirs before
            self.checkpoints.save_alone(trainer)
        self._leave(trainer)

    def _leave(self, trainer: pl.Trainer) -> None:
        signum = self.signals.received or signal.SIGTERM
        log.warning("stopped by %s behind step %d", signal.Signals(signum).name, trainer.global_step)
        raise Interrupted(signum)
