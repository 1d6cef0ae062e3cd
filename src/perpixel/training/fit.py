"""One training from objects to files: fit, keep the best weights, score them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from torch import nn

from perpixel.config.schema import CheckpointConfig, TrainerConfig, TrainingConfig
from perpixel.labels import LabelSpace
from perpixel.training.callbacks import EMA, History, StopOnSignal
from perpixel.training.module import MakeOptimizer, MakeSchedule, Scores, SegmentationModule
from perpixel.training.quiet import quieten

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
        make_optimizer, make_schedule: see ``SegmentationModule``.
        loggers: Lightning loggers, beside the files that every run writes.
        fit_callbacks: further callbacks while training.
        val_callbacks: callbacks of the final evaluation on val.
        on_look: called with a split's name before it is scored for the record.
    """

    model: nn.Module
    loss: nn.Module
    labels: LabelSpace
    data: pl.LightningDataModule
    splits: Sequence[str]
    make_optimizer: MakeOptimizer
    make_schedule: MakeSchedule
    loggers: Sequence[Logger] = ()
    fit_callbacks: Sequence[Callback] = ()
    val_callbacks: Sequence[Callback] = ()
    on_look: Callable[[str], None] = field(default=lambda split: None)


def fit(
    experiment: Experiment, trainer: TrainerConfig, training: TrainingConfig, run: Path, resume: Path | None = None
) -> dict[str, Scores]:
    """Train, load the best weights, score val and (once) test.

    Writes ``checkpoints/``, ``metrics.jsonl`` and ``metrics.json`` into the run directory. The module's network holds
    the best weights afterwards: with EMA, the averaged ones.

    Args:
        experiment: what to train.
        trainer: Lightning's arguments.
        training: ours.
        run: the run directory; it exists.
        resume: a checkpoint to go on from.

    Returns:
        Scores by split.
    """
    quieten()
    module = SegmentationModule(
        experiment.model,
        experiment.loss,
        experiment.labels,
        experiment.make_optimizer,
        experiment.make_schedule,
        compile_model=training.compile,
        channels_last=training.channels_last,
    )
    fitter = pl.Trainer(
        **_arguments(trainer),
        logger=list(experiment.loggers) or False,
        callbacks=_callbacks(experiment, trainer, training, run),
        default_root_dir=run,
    )
    fitter.fit(module, datamodule=experiment.data, ckpt_path=resume, weights_only=True if resume else None)
    load_best(module, run)
    scores = {
        split: evaluate(module, experiment, trainer, split, experiment.val_callbacks if split == "val" else ())
        for split in ("val", "test")
        if split in experiment.splits and (split == "val" or training.test)
    }
    if fitter.is_global_zero:
        write_scores(run / "metrics.json", experiment.labels, scores)
        for logger in experiment.loggers:
            logger.log_metrics({f"final/{split}/mIoU": found.values["mIoU"] for split, found in scores.items()})
    return scores


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


def write_scores(path: Path, labels: LabelSpace, scores: Mapping[str, Scores]) -> None:
    """``metrics.json``: classes, palette, and per split scores (null where undefined), absent classes and confusion."""
    record: dict[str, Any] = {"classes": labels.names, "palette": labels.palette}
    for split, found in scores.items():
        values = {name: value if value == value else None for name, value in found.values.items()}
        record[split] = {**values, "absent": found.absent, "confusion": found.confusion}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _arguments(trainer: TrainerConfig) -> dict[str, Any]:
    return {**asdict(trainer), "use_distributed_sampler": False, "enable_checkpointing": None}


def _callbacks(experiment: Experiment, trainer: TrainerConfig, training: TrainingConfig, run: Path) -> list[Callback]:
    """In the order they act: the average is updated before anything reads or saves weights."""
    checkpoints = run / "checkpoints"
    found: list[Callback] = []
    if training.ema_decay is not None:
        found.append(EMA(training.ema_decay))
    found += [*experiment.fit_callbacks, History(run / "metrics.jsonl"), StopOnSignal(checkpoints / "last.ckpt")]
    if training.early_stopping.patience is not None:
        found.append(_early_stopping(training))
    if trainer.enable_progress_bar is not False and not trainer.barebones:
        found.append(TQDMProgressBar(leave=False))
    if trainer.enable_checkpointing is not False and not trainer.barebones:
        found += _checkpoints(training.checkpoint, checkpoints)
    return found


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


def _checkpoints(settings: CheckpointConfig, directory: Path) -> list[Callback]:
    """best.ckpt by the monitored score, last.ckpt at the end of every epoch or every n steps."""
    fixed: dict[str, Any] = {
        "dirpath": directory,
        "auto_insert_metric_name": False,  # file names without =, which Hydra cannot parse
        "enable_version_counter": False,
    }
    best = ModelCheckpoint(**fixed, filename="best", monitor=settings.monitor, mode=settings.mode)
    last = ModelCheckpoint(
        **fixed,
        filename="last",
        every_n_train_steps=settings.every_n_steps,
        every_n_epochs=None if settings.every_n_steps else 1,
        save_on_train_epoch_end=None if settings.every_n_steps else True,
    )
    return [best, last]


def load_best(module: SegmentationModule, run: Path) -> None:
    """Give a module the best checkpoint's weights (the averaged ones, with EMA); warns where there is none."""
    best = run / "checkpoints" / "best.ckpt"
    if best.is_file():
        state = torch.load(best, map_location=module.device, weights_only=True)["state_dict"]
        module.load_state_dict(state)
    else:
        log.warning(
            "no best checkpoint was written (no validation, or checkpoints are off): the last weights are scored."
        )
