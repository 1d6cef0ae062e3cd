"""One training from objects to files: fit, keep the best weights, score them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from torch import Tensor

from perpixel.config.monitor import direction
from perpixel.config.schema import TrainerConfig, TrainingConfig
from perpixel.tracking import manifest
from perpixel.training.callbacks import (
    EMA,
    Checkpoints,
    EpochMeans,
    ExactResume,
    History,
    NonFinite,
    NonFiniteGuard,
    Step,
    StopOnSignal,
    Watchdog,
)
from perpixel.training.callbacks.progress import Bar, EpochLines, on_terminal
from perpixel.training.checkpoint_index import Entry
from perpixel.training.end import validate_end
from perpixel.training.experiment import Experiment, trainer_arguments
from perpixel.training.launch import patient_strategy
from perpixel.training.lightning_warnings import silence_lightning_warnings
from perpixel.training.module import Scores, SegmentationModule
from perpixel.training.protocols import RedrawableData
from perpixel.training.rollbacks import Rollbacks
from perpixel.training.scoring import evaluate, final_values, load_best, write_scores
from perpixel.training.signals import Signals, handle_signals
from perpixel.training.store import CheckpointStore, StoreIO

log = logging.getLogger(__name__)


def fit(
    experiment: Experiment,
    trainer: TrainerConfig,
    training: TrainingConfig,
    run: Path,
    newest: tuple[Path, Entry] | None = None,
) -> dict[str, Scores]:
    """Train, validate what it ends with, load the best weights, score val and (once) test.

    Writes ``checkpoints/``, ``metrics.jsonl`` and ``metrics.json`` into the run directory. The module's network holds
    the best weights afterwards: with EMA, the averaged ones.

    Args:
        experiment: what to train.
        trainer: Lightning's arguments.
        training: ours.
        run: the run directory; it exists.
        newest: the state to go on from, as ``CheckpointStore.to_go_on_from`` gives it; None for the beginning.

    Returns:
        Scores by split.

    Raises:
        NonFinite: see ``training.on_nan``.
        CheckpointError: a checkpoint could not be written, or all that training could go on from are damaged.
        Interrupted: told to stop; the state is saved.
    """
    silence_lightning_warnings()
    with handle_signals() as signals:
        return _fit_and_score(experiment, trainer, training, run, newest, signals)


def _fit_and_score(
    experiment: Experiment,
    trainer: TrainerConfig,
    training: TrainingConfig,
    run: Path,
    newest: tuple[Path, Entry] | None,
    signals: Signals,
) -> dict[str, Scores]:
    rollbacks = Rollbacks(CheckpointStore(run / "checkpoints"), newest)
    fit_once = partial(_fit_once, experiment, trainer, training, run, signals, rollbacks)
    module, fitter = _trained(fit_once, experiment, training, rollbacks)
    watch = [Watchdog(training.timeout_s, partial(_note_hang, run))] if training.timeout_s else []
    validate_end(module, fitter, experiment, trainer, watch)
    load_best(module, run)
    scores: dict[str, Scores] = {}
    for split in ("val", "test"):
        if split in experiment.splits and (split == "val" or training.test):
            drawing = experiment.val_callbacks if split == "val" else ()
            if (found := evaluate(module, experiment, trainer, split, [*watch, *drawing])) is not None:
                scores[split] = found
    if "val" in scores and not math.isfinite(scores["val"].values["loss"]):
        last = Step(fitter.global_step, fitter.current_epoch)
        raise NonFinite(last, [], "the loss of the val split with the weights to keep was")
    if fitter.is_global_zero:
        baselines = experiment.baselines(list(scores))
        write_scores(run / "metrics.json", experiment.labels, scores, baselines, experiment.conditions)
        for logger in experiment.loggers:
            logger.log_metrics(final_values(scores))
    return scores


def _trained(
    fit_once: Callable[[], tuple[SegmentationModule, pl.Trainer]],
    experiment: Experiment,
    training: TrainingConfig,
    rollbacks: Rollbacks,
) -> tuple[SegmentationModule, pl.Trainer]:
    """Fit; after a rollback once more, from the last state that was good.

    A validation that was broken off leaves the network in evaluation mode, and Lightning takes each module as it finds
    it: the modes of the beginning come back. (All modules in training mode would undo frozen ones.)
    """
    modes = {module: module.training for model in (experiment.model, experiment.loss) for module in model.modules()}
    while True:
        try:
            return fit_once()
        except NonFinite as found:
            if training.on_nan != "rollback" or not rollbacks.may_go_back(found):
                raise
            log.warning("%s\nGoing back to the last checkpoint; that step gets other samples.", found)
            experiment.on_rollback(found)
            if batches := found.step.batches:
                assert isinstance(experiment.data, RedrawableData), "on_nan=rollback needs data that can redraw"
                experiment.data.redraw(found.step.epoch, batches[0], batches[-1])
            for module, mode in modes.items():
                module.training = mode


def _fit_once(
    experiment: Experiment,
    trainer: TrainerConfig,
    training: TrainingConfig,
    run: Path,
    signals: Signals,
    rollbacks: Rollbacks,
) -> tuple[SegmentationModule, pl.Trainer]:
    module = SegmentationModule(
        experiment.model,
        experiment.loss,
        experiment.labels,
        experiment.make_optimizer,
        experiment.make_schedule,
        compile_model=training.compile,
        channels_last=training.channels_last,
        final_metrics=experiment.final_metrics,
    )
    store = CheckpointStore(run / "checkpoints", training.checkpoint.keep)
    settings = {
        **trainer_arguments(trainer),
        "strategy": patient_strategy(trainer.strategy, training.timeout_s),
        "enable_checkpointing": trainer.enable_checkpointing is not False,
        "profiler": _profiler(trainer.profiler, run),
    }
    if not on_terminal():
        settings["enable_progress_bar"] = False  # else Lightning brings a bar of its own
    fitter = pl.Trainer(
        **settings,
        logger=list(experiment.loggers) or False,
        callbacks=_callbacks(experiment, trainer, training, run, store, signals),
        plugins=_plugins(store),
        default_root_dir=run,
    )
    fitter._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # we took them over
    newest = rollbacks.start()
    rollbacks.let_go(fitter.is_global_zero)
    if newest:
        log.info("going on from %s", newest)
    fitter.fit(module, datamodule=experiment.data, ckpt_path=newest, weights_only=True if newest else None)
    return module, fitter


def _profiler(name: str | None, run: Path) -> Profiler | None:
    """``trainer.profiler``; what it found stands in the run directory."""
    kinds: dict[str, type[Profiler]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
    return None if name is None else kinds.get(name, PyTorchProfiler)(dirpath=run, filename="profile")


def _plugins(store: CheckpointStore) -> list[Any]:
    """One door for checkpoints; and only the launcher may requeue a cluster's job, never Lightning beside it."""
    cluster = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    return [StoreIO(store), *cluster]


def _callbacks(
    experiment: Experiment,
    trainer: TrainerConfig,
    training: TrainingConfig,
    run: Path,
    store: CheckpointStore,
    signals: Signals,
) -> list[Callback]:
    """In the order they act: what is not finite is found and the average updated before anything reads or saves."""
    guard = NonFiniteGuard(training.nan_check_steps)
    average = EMA(training.ema_decay) if training.ema_decay is not None else None
    checkpoints = None
    if trainer.enable_checkpointing is not False:
        weights = average.weights if average else _own_weights
        at_start, touched = training.on_nan == "rollback", partial(manifest.add_time, run)
        checkpoints = Checkpoints(store, training.checkpoint, weights, guard.check, at_start, touched)
    found: list[Callback | None] = [
        guard,
        average,
        ExactResume(),
        EpochMeans(),
        *experiment.fit_callbacks,
        History(run / "metrics.jsonl"),
        StopOnSignal(signals, checkpoints),
        Watchdog(training.timeout_s, partial(_note_hang, run)) if training.timeout_s else None,
        _early_stopping(training) if training.early_stopping.patience is not None else None,
        EpochLines(),
        Bar() if trainer.enable_progress_bar is not False and on_terminal() else None,
        checkpoints,
    ]
    return [callback for callback in found if callback is not None]


def _note_hang(run: Path, told: str) -> None:
    manifest.update(run, status="failed", error=told)


def _own_weights(module: pl.LightningModule) -> dict[str, Tensor]:
    return module.state_dict()


def _early_stopping(training: TrainingConfig) -> Callback:
    stopping, checkpoint = training.early_stopping, training.checkpoint
    assert stopping.patience is not None
    return EarlyStopping(
        checkpoint.monitor,
        min_delta=stopping.min_delta,
        patience=stopping.patience,
        mode=direction(checkpoint.monitor),
        check_finite=False,
    )
