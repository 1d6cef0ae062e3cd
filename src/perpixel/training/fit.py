"""One training from objects to files: fit, keep the best weights, score them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from perpixel.config.schema import TrainerConfig, TrainingConfig
from perpixel.labels import LabelSpace
from perpixel.metrics import PixelMetric
from perpixel.tracking import manifest
from perpixel.tracking.files import write_atomically
from perpixel.training.callbacks import (
    EMA,
    Checkpoints,
    EpochMeans,
    ExactResume,
    FiniteGuard,
    History,
    NonFinite,
    Step,
    StopOnSignal,
    Watchdog,
)
from perpixel.training.launch import patient_strategy
from perpixel.training.module import MakeOptimizer, MakeSchedule, Scores, SegmentationModule
from perpixel.training.quiet import quieten
from perpixel.training.rollbacks import Rollbacks
from perpixel.training.signals import Signals, taken_over
from perpixel.training.store import LEDGER, CheckpointError, CheckpointStore, StoreIO

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """The objects of one training.

    Attributes:
        model: see ``SegmentationModule``.
        loss: see ``SegmentationModule``.
        labels: of the masks.
        data: its loaders.
        splits: names of the splits that exist.
        make_optimizer, make_schedule, final_metrics: see ``SegmentationModule``.
        loggers: Lightning loggers, beside the files that every run writes.
        fit_callbacks: further callbacks while training.
        val_callbacks: callbacks of the final evaluation on val.
        on_look: called with a split's name before it is scored for the record.
        on_rollback: called when a step was not finite and training goes back; all ranks call it.
    """

    model: nn.Module
    loss: nn.Module
    labels: LabelSpace
    data: pl.LightningDataModule
    splits: Sequence[str]
    make_optimizer: MakeOptimizer
    make_schedule: MakeSchedule
    final_metrics: Sequence[PixelMetric] = ()
    loggers: Sequence[Logger] = ()
    fit_callbacks: Sequence[Callback] = ()
    val_callbacks: Sequence[Callback] = ()
    on_look: Callable[[str], None] = field(default=lambda split: None)
    on_rollback: Callable[[NonFinite], None] = field(default=lambda found: None)


def fit(
    experiment: Experiment, trainer: TrainerConfig, training: TrainingConfig, run: Path, resume: bool = False
) -> dict[str, Scores]:
    """Train, load the best weights, score val and (once) test.

    Writes ``checkpoints/``, ``metrics.jsonl`` and ``metrics.json`` into the run directory. The module's network holds
    the best weights afterwards: with EMA, the averaged ones.

    Args:
        experiment: what to train.
        trainer: Lightning's arguments.
        training: ours.
        run: the run directory; it exists.
        resume: go on from the run's newest intact checkpoint; from the beginning where it has none.

    Returns:
        Scores by split.

    Raises:
        NonFinite: see ``training.on_nan``.
        CheckpointError: a checkpoint could not be written, or all that training could go on from are damaged.
        Interrupted: told to stop; the state is saved.
    """
    quieten()
    with taken_over() as signals:
        return _fit_and_score(experiment, trainer, training, run, resume, signals)


def _fit_and_score(
    experiment: Experiment, trainer: TrainerConfig, training: TrainingConfig, run: Path, resume: bool, signals: Signals
) -> dict[str, Scores]:
    module, fitter = _trained(experiment, trainer, training, run, resume, signals)
    load_best(module, run)
    watch = [Watchdog(training.timeout_s, partial(_note_hang, run))] if training.timeout_s else []
    scores = {
        split: evaluate(
            module, experiment, trainer, split, [*watch, *(experiment.val_callbacks if split == "val" else ())]
        )
        for split in ("val", "test")
        if split in experiment.splits and (split == "val" or training.test)
    }
    if "val" in scores and not math.isfinite(scores["val"].values["loss"]):
        last = Step(fitter.global_step, fitter.current_epoch)
        raise NonFinite(last, [], "the loss of the val split with the weights to keep was")
    if fitter.is_global_zero:
        write_scores(run / "metrics.json", experiment.labels, scores)
        for logger in experiment.loggers:
            logger.log_metrics(final_values(scores))
    return scores


def _trained(
    experiment: Experiment, trainer: TrainerConfig, training: TrainingConfig, run: Path, resume: bool, signals: Signals
) -> tuple[SegmentationModule, pl.Trainer]:
    """Fit; after a rollback once more, from the last state that was good.

    A validation that was broken off leaves the network in evaluation mode, and Lightning takes each module as it finds
    it: the modes of the beginning come back. (All modules in training mode would undo frozen ones.)
    """
    modes = {module: module.training for model in (experiment.model, experiment.loss) for module in model.modules()}
    rollbacks = Rollbacks(CheckpointStore(run / "checkpoints"))
    while True:
        try:
            return _fit_once(experiment, trainer, training, run, resume, signals, rollbacks)
        except NonFinite as found:
            if training.on_nan != "rollback" or not rollbacks.may_go_back(found):
                raise
            log.warning("%s\nGoing back to the last checkpoint; that step gets other samples.", found)
            experiment.on_rollback(found)
            if batches := found.step.batches:
                experiment.data.redraw(found.step.epoch, batches[0], batches[-1])  # type: ignore[attr-defined]
            for module, mode in modes.items():
                module.training = mode
            resume = True


def _fit_once(
    experiment: Experiment,
    trainer: TrainerConfig,
    training: TrainingConfig,
    run: Path,
    resume: bool,
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
    fitter = pl.Trainer(
        **{**_arguments(trainer), "strategy": patient_strategy(trainer.strategy, training.timeout_s)},
        logger=list(experiment.loggers) or False,
        callbacks=_callbacks(experiment, trainer, training, run, store, signals),
        plugins=_plugins(store),
        default_root_dir=run,
    )
    fitter._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # we took them over
    newest = rollbacks.start() if resume else None
    if fitter.is_global_zero:
        store.tidy()
    rollbacks.let_go(fitter.is_global_zero)
    if resume:
        log.info("going on from %s", newest or "the beginning: there is no checkpoint yet")
    fitter.fit(module, datamodule=experiment.data, ckpt_path=newest, weights_only=True if newest else None)
    return module, fitter


def _plugins(store: CheckpointStore) -> list[Any]:
    """One door for checkpoints; and only the launcher may requeue a cluster's job, never Lightning beside it."""
    cluster = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    return [StoreIO(store), *cluster]


def evaluate(
    module: SegmentationModule,
    experiment: Experiment,
    trainer: TrainerConfig,
    split: str,
    callbacks: Sequence[Callback] = (),
) -> Scores:
    """Score the module's present weights on ``val`` or ``test``; every rank gets the scores of the whole split.

    A trainer of its own: the training's EMA callback would swap weights here, too.
    """
    quieten()
    experiment.on_look(split)
    scorer = pl.Trainer(
        **{**_arguments(trainer), "enable_progress_bar": False},
        logger=False,
        callbacks=list(callbacks),
    )
    run = scorer.test if split == "test" else scorer.validate
    run(module, datamodule=experiment.data, verbose=False)
    return module.last


def final_values(scores: Mapping[str, Scores]) -> dict[str, float]:
    """All scores for loggers, as ``final/<split>/<name>``; those that are undefined are left out."""
    return {
        f"final/{split}/{name}": value
        for split, found in scores.items()
        for name, value in found.values.items()
        if value == value
    }


def write_scores(path: Path, labels: LabelSpace, scores: Mapping[str, Scores]) -> None:
    """``metrics.json``: classes, palette, and per split scores (null where undefined) and details (see ``Scores``)."""
    record: dict[str, Any] = {"classes": labels.names, "palette": labels.palette}
    for split, found in scores.items():
        values = {name: value if value == value else None for name, value in found.values.items()}
        record[split] = {**values, **found.details}
    write_atomically(path, json.dumps(record, indent=1) + "\n")


def _arguments(trainer: TrainerConfig) -> dict[str, Any]:
    return {**asdict(trainer), "use_distributed_sampler": False, "enable_checkpointing": None}


def _callbacks(
    experiment: Experiment,
    trainer: TrainerConfig,
    training: TrainingConfig,
    run: Path,
    store: CheckpointStore,
    signals: Signals,
) -> list[Callback]:
    """In the order they act: what is not finite is found and the average updated before anything reads or saves."""
    guard = FiniteGuard(training.nan_check_steps)
    average = EMA(training.ema_decay) if training.ema_decay is not None else None
    checkpoints = None
    if trainer.enable_checkpointing is not False and not trainer.barebones:
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
        TQDMProgressBar(leave=False) if trainer.enable_progress_bar is not False and not trainer.barebones else None,
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
        mode=checkpoint.mode,
        check_finite=False,
    )


def load_best(module: SegmentationModule, run: Path) -> None:
    """Give a module the best weights of a run (the averaged ones, with EMA), its last ones where nothing was validated.

    Raises:
        CheckpointError: all that were kept are damaged.
    """
    store = CheckpointStore(run / "checkpoints")
    found = store.newest_valid("best")
    if found is None and not store.entries("best"):
        log.warning("no best weights were kept (no validation, or checkpoints are off): the last ones are scored.")
        found = store.newest_valid("state")
    if found is not None:
        state = torch.load(found[0], map_location=module.device, weights_only=True)["state_dict"]
        module.load_state_dict(state)
    elif store.entries("best"):
        raise CheckpointError(
            f"every checkpoint of the best weights in '{store.directory}' is damaged or missing: "
            f"{', '.join(entry.file for entry in store.entries('best'))}. Put them back from a copy; or remove "
            f"'{store.directory / LEDGER}' and those files, and the last weights are scored."
        )
