"""Stopping at a step boundary when the system asks."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """Training stopped on a signal, after its checkpoint; the exit code is 128 + the signal's number."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class StopOnSignal(pl.Callback):
    """On SIGTERM or SIGINT: finish the optimiser step, write a checkpoint, exit 143 or 130. A second signal stops at
    once.

    Lightning's own SIGTERM handler talks to the other ranks from inside the handler, which can hang when the signal
    arrives in a collective; this callback replaces it as soon as training starts. The ranks agree at each step, so that
    all of them stop at the same one.

    Args:
        checkpoint: where the checkpoint goes.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._received = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals; Lightning restores the handlers it found when it tears down."""
        for signum in SIGNALS:
            signal.signal(signum, self._note)

    def _note(self, signum: int, _: Any) -> None:
        if self._received:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self._received = signum

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop here if any rank was told to."""
        if trainer.fit_loop._should_accumulate():
            return
        stop = bool(self._received)
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            signum = self._received or signal.SIGTERM
            trainer.save_checkpoint(self.checkpoint)
            log.warning(
                "stopped by %s at step %d; checkpoint: %s",
                signal.Signals(signum).name,
                trainer.global_step,
                self.checkpoint,
            )
            raise Interrupted(signum)
