"""The scores of a split for the record, and the weights that they are of."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from perpixel.config.schema import TrainerConfig
from perpixel.labels import LabelSpace
from perpixel.metrics.image_counts import IMAGES
from perpixel.tracking.files import replacing, write_atomically
from perpixel.training.checkpoint_index import INDEX_FILE
from perpixel.training.experiment import Experiment, trainer_arguments
from perpixel.training.lightning_warnings import silence_lightning_warnings
from perpixel.training.module import Scores, SegmentationModule
from perpixel.training.store import CheckpointError, CheckpointStore
from perpixel.uncertainty import Conditions, PerImage, counts_file, intervals, slices, write_counts

log = logging.getLogger(__name__)


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
            f"'{store.directory / INDEX_FILE}' and those files, and the last weights are scored."
        )


def evaluate(
    module: SegmentationModule,
    experiment: Experiment,
    trainer: TrainerConfig,
    split: str,
    callbacks: Sequence[Callback] = (),
) -> Scores | None:
    """Score the module's present weights on ``val`` or ``test``; every rank gets the scores of the whole split.

    A trainer of its own: the training's EMA callback would swap weights here, too. Where ``trainer`` limits the batches
    the scores say of how many pixels they are; None where it leaves no batch at all.
    """
    silence_lightning_warnings()
    limit = trainer.limit_test_batches if split == "test" else trainer.limit_val_batches
    if limit == 0 and not trainer.fast_dev_run:
        return None
    experiment.on_look(split)
    scorer = pl.Trainer(
        **{**trainer_arguments(trainer), "enable_progress_bar": False},
        logger=False,
        callbacks=list(callbacks),
    )
    run = scorer.test if split == "test" else scorer.validate
    module.last = None  # where nothing is scored, what was found before must not pass for it
    run(module, datamodule=experiment.data, verbose=False)
    if module.last is None or not (trainer.fast_dev_run or _limits(limit)):
        return module.last
    return _marked(module.last, experiment.pixels(split))


def _limits(batches: int | float | None) -> bool:
    """Of Lightning's limits only None and 1.0 let all batches pass; 1 is a single one."""
    return batches is not None and not (isinstance(batches, float) and batches == 1.0)


def _marked(found: Scores, there: int) -> Scores:
    counted = sum(map(sum, found.details["confusion"]))
    part = {"part": {"pixels": counted, "of": there}} if counted < there else {}
    return replace(found, details={**found.details, **part})


def final_values(scores: Mapping[str, Scores]) -> dict[str, float]:
    """All scores for loggers, as ``final/<split>/<name>``; those that are undefined are left out."""
    return {
        f"final/{split}/{name}": value
        for split, found in scores.items()
        for name, value in found.values.items()
        if value == value
    }


def write_scores(
    path: Path,
    labels: LabelSpace,
    scores: Mapping[str, Scores],
    baselines: Mapping[str, Any] | None = None,
    conditions: Callable[[str], Conditions] = lambda split: Conditions(),
) -> None:
    """``metrics.json``: classes, palette, and per split scores (null where undefined) and details (see ``Scores``).

    Under ``baselines`` stands what guesses without a network score, by split and guess. Where images were counted one
    by one their counts go into ``metrics_images.npz``, and ``intervals`` and ``slices`` of each split hold what follows
    from them.

    Args:
        path: of the JSON.
        labels: of the scores.
        scores: by split.
        baselines: see above.
        conditions: a split's name → what is known of its images.
    """
    record: dict[str, Any] = {"classes": labels.names, "palette": labels.palette}
    if baselines:
        record["baselines"] = dict(baselines)
    counted: dict[str, PerImage] = {}
    for split, found in scores.items():
        values = {name: value if value == value else None for name, value in found.values.items()}
        details = {name: detail for name, detail in found.details.items() if name != IMAGES}
        record[split] = {**values, **details}
        if IMAGES in found.details:
            counted[split] = PerImage.of(found.details[IMAGES], labels.names, conditions(split))
            record[split]["slices"] = [one.plain() for one in slices(counted[split])]
            record[split]["intervals"] = {name: one.plain() for name, one in intervals(counted[split]).items()}
    if counted:
        with replacing(counts_file(path)) as file:
            write_counts(file, counted)
    else:
        counts_file(path).unlink(missing_ok=True)  # of scores that are now overwritten
    write_atomically(path, json.dumps(record, indent=1) + "\n")
