"""Stopping at a step boundary when the system asks."""

from __future__ import annotations

import logging
import signal
from typing import Any

import lightning.pytorch as pl

from perpixel.training.callbacks.checkpoints import Checkpoints
from perpixel.training.ranks import any_rank

log = logging.getLogger(__name__)

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143}
"""128 + the signal's number; SIGUSR1 is how clusters announce SIGTERM, and ends the same way."""


class Interrupted(SystemExit):
    """Training stopped on a signal, after its checkpoint; the exit code is the signal's."""

    def __init__(self, signum: int) -> None:
        super().__init__(EXIT_CODES[signal.Signals(signum)])
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}"


class StopOnSignal(pl.Callback):
    """On SIGTERM, SIGINT or SIGUSR1: finish the optimiser step, write a checkpoint, exit. A second signal stops at
    once.

    Nothing is done inside the handler but to note the signal. Lightning's own SIGTERM handler talks to the other ranks
    from inside it, which can hang when the signal arrives in a collective; this callback replaces it as soon as
    training starts. The ranks agree at each step, so that all of them stop at the same one. A validation is broken off;
    the resumed run repeats it.

    Args:
        checkpoints: writes the state; None leaves without one.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self.checkpoints = checkpoints
        self._received = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals; Lightning restores the handlers it found when it tears down."""
        for signum in EXIT_CODES:
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
        if not trainer.fit_loop._should_accumulate() and any_rank(trainer, bool(self._received)):
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
        """Stop without asking the others: ranks have different numbers of batches here, and get the signal, too."""
        if self._received and not trainer.sanity_checking:
            if self.checkpoints is not None:
                self.checkpoints.save_alone(trainer)
            self._leave(trainer)

    def _leave(self, trainer: pl.Trainer) -> None:
        signum = self._received or signal.SIGTERM
        log.warning("stopped by %s behind step %d", signal.Signals(signum).name, trainer.global_step)
        raise Interrupted(signum)
