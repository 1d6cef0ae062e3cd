"""Stopping a trial of a search that will not win."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl

from perpixel.config.errors import UserFacingError
from perpixel.training.ranks import any_rank


class Pruned(UserFacingError):
    """The search stopped a trial."""

    run_status = "pruned"


class Pruning(pl.Callback):
    """Reports each validation's score to a search, and stops before the next epoch where that says so.

    Rank 0 decides for all: the others have nobody to ask, and would wait for it in their next step.

    Args:
        monitor: the score.
        report: takes epoch and score, tells whether to stop; None on ranks other than 0.
    """

    def __init__(self, monitor: str, report: Callable[[int, float], bool] | None) -> None:
        self.monitor = monitor
        self.report = report
        self.stop = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        score = trainer.callback_metrics.get(self.monitor)
        said = self.report is not None and score is not None and self.report(trainer.current_epoch, float(score))
        self.stop = any_rank(trainer, said)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here: the last epoch's line is written."""
        if self.stop:
            raise Pruned(f"pruned by the search behind epoch {trainer.current_epoch - 1}")
