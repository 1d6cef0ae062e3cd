"""What a training ends with is validated, wherever it ends."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from perpixel.config.schema import TrainerConfig
from perpixel.training.callbacks import Checkpoints, History, NonFinite, Step
from perpixel.training.experiment import Experiment
from perpixel.training.module import SegmentationModule
from perpixel.training.scoring import evaluate

log = logging.getLogger(__name__)


def validate_end(
    module: SegmentationModule,
    fitter: pl.Trainer,
    experiment: Experiment,
    trainer: TrainerConfig,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Validate the last weights, where training ended behind its last validation, and keep them if they are the best.

    It does so within an epoch (``trainer.max_steps``, ``max_time``), or between two validations that are further apart
    (``check_val_every_n_epoch``, ``val_check_interval``); a resumed run does so where it was stopped in its very last
    validation. The scores go where those of every other validation go.

    Args:
        module: holds the last weights.
        fitter: the trainer, when ``fit`` is over.
        experiment, trainer: of the training.
        callbacks: of the evaluation.

    Raises:
        NonFinite: the loss of the split is not finite.
    """
    history = next(callback for callback in fitter.callbacks if isinstance(callback, History))  # type: ignore[attr-defined]
    checkpoints = next((one for one in fitter.callbacks if isinstance(one, Checkpoints)), None)  # type: ignore[attr-defined]
    if "val" not in experiment.splits or history.validated_step == fitter.global_step:
        return
    if checkpoints is not None:
        module.load_state_dict(checkpoints.weights(module))
    found = _scores(module, experiment, trainer, callbacks)
    if not math.isfinite(found.get("val/loss", 0.0)):
        raise NonFinite(Step(fitter.global_step, fitter.current_epoch), [], "the loss of the val split at the end was")
    if fitter.is_global_zero:
        history.add_end(fitter, found)
        for logger in experiment.loggers:
            logger.log_metrics(found, step=fitter.global_step)
    if checkpoints is not None:
        checkpoints.recall(fitter.global_step)
        checkpoints.keep_if_best(fitter, module, found)
    fitter.strategy.barrier("the end's weights")  # all ranks load what the first one writes


def _scores(
    module: SegmentationModule, experiment: Experiment, trainer: TrainerConfig, callbacks: Sequence[Callback]
) -> dict[str, float]:
    """As a validation in the training logs them."""
    seen = _Seen()
    module.for_record = False
    try:
        evaluate(module, experiment, trainer, "val", [*callbacks, seen])
    finally:
        module.for_record = True
    return seen.found


class _Seen(Callback):
    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.found = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val/")}
