"""What a checkpoint needs beside weights and optimiser so that a resumed run equals an uninterrupted one to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from perpixel.spec import FORMAT, check_format
from perpixel.training.ranks import from_all_ranks

_ZERO = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
_BEGUN = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


class ExactResume(pl.Callback):
    """Adds the random states of all ranks to a checkpoint, and puts Lightning's loop counters in order.

    Lightning counts a batch as completed after the hooks that save, and reads on resume from which counter lags behind
    where it was; a validation that was due or under way is then skipped, or finished from the middle with half its
    counts. Here a checkpoint always says one of three things: *within an epoch* (all batches so far completed), *within
    an epoch, validation due* (a validation that was interrupted is repeated as a whole), or *epoch finished*.
    """

    def __init__(self) -> None:
        self._random: Sequence[dict[str, Tensor]] | None = None
        self._before_validation: Sequence[dict[str, Tensor]] = ()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A rank that stops during validation saves alone, so the others' states are collected while they are here."""
        self._before_validation = from_all_ranks(trainer, _random_state())

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """See the class."""
        states = self._before_validation if trainer.validating else from_all_ranks(trainer, _random_state())
        checkpoint["random"], checkpoint["format"] = list(states), FORMAT
        is_open = _epoch_is_open(trainer)
        due = is_open and (trainer.validating or _validation_is_due(trainer))
        _tidy(checkpoint["loops"]["fit_loop"], is_open, due)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the random states until training starts: set-up draws random numbers, too.

        Raises:
            ValueError: the training is to end before what the checkpoint has behind it, or the checkpoint has another
                format.
        """
        check_format(checkpoint.get("format"), "the state to go on from")
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["started"]
        _refuse_less("max_epochs", trainer.max_epochs, epochs, "epochs")
        _refuse_less("max_steps", trainer.max_steps, checkpoint["global_step"], "steps")
        self._random = checkpoint["random"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the saved random states; a rank that did not exist before keeps its own. A training that had ended
        early, by the patience that holds now, does not start again.
        """
        if self._random is not None and trainer.global_rank < len(self._random):
            _set_random_state(self._random[trainer.global_rank])
            patience = (cb for cb in trainer.early_stopping_callbacks if isinstance(cb, EarlyStopping))
            trainer.should_stop |= any(callback.wait_count >= callback.patience for callback in patience)
        self._random = None


def _refuse_less(key: str, most: int | None, done: int, what: str) -> None:
    if most is not None and 0 <= most < done:
        raise ValueError(
            f"trainer.{key}={most} ends before what this run has done: {done} {what} were begun. Give more, or leave "
            "it out; a shorter training is a new run."
        )


def _epoch_is_open(trainer: pl.Trainer) -> bool:
    progress: Any = trainer.fit_loop.epoch_progress.current
    return bool(progress.processed < progress.started)


def _validation_is_due(trainer: pl.Trainer) -> bool:
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def _tidy(loops: dict[str, Any], epoch_is_open: bool, validation_due: bool) -> None:
    """Rewrite the counters, in place."""
    if epoch_is_open:
        batches = loops["epoch_loop.batch_progress"]
        for tracker in (batches["total"], batches["current"]):
            tracker["completed"] = tracker["processed"]
        if not validation_due:  # otherwise Lightning counts the step once the validation is repeated
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
    validation = _BEGUN if validation_due else _ZERO
    loops["epoch_loop.val_loop.batch_progress"] = {
        "total": dict(validation),
        "current": dict(validation),
        "is_last_batch": False,
    }


def _random_state() -> dict[str, Tensor]:
    """torch's global streams (dropout, for instance); everything else here draws from generators of its own."""
    return {"cpu": torch.get_rng_state()} | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random_state(state: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
