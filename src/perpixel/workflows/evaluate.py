"""Score a run's best checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from perpixel.data import DataModule
from perpixel.reporting.pictures import reliability_picture
from perpixel.tracking import manifest
from perpixel.training import SegmentationModule, evaluate, load_best, write_scores
from perpixel.workflows.assembly import assemble, check_nodes, without_weights
from perpixel.workflows.job import refuse_changed, typed
from perpixel.workflows.pictures import save_png


def score_run(run: Path, cfg: DictConfig, split: str, allow_changed: bool) -> dict[str, float | None]:
    """Scores of a run's best weights on a split, by name; a look at test is counted in the manifest.

    Leaves ``evaluation_<split>.json`` and, where calibration is measured, ``evaluation_<split>_reliability.png`` in the
    run directory. It may have been moved since it was trained, or brought to another machine.

    Args:
        run: the run directory.
        cfg: its config.
        split: val or test.
        allow_changed: score although the data are not what the run was trained with.

    Raises:
        ValueError: the split does not exist, or its content hash is not the one in the manifest.
    """
    check_nodes(cfg)
    cfg = _here(without_weights(cfg))
    experiment = assemble(cfg, run, None, lambda name: _count(run, name))
    if split not in experiment.splits or split == "train":
        scored = [name for name in experiment.splits if name != "train"]
        raise ValueError(f"split={split}: this data set can be scored on {', '.join(scored)}.")
    data = cast(DataModule, experiment.data)
    refuse_changed(data, {split: data.fingerprints()[split]}, run, allow_changed)
    settings = typed(cfg)
    module = SegmentationModule(
        experiment.model,
        experiment.loss,
        experiment.labels,
        channels_last=settings.training.channels_last,  # another memory format rounds differently
        final_metrics=experiment.final_metrics,
    )
    load_best(module, run)
    found = evaluate(module, experiment, settings.trainer, split)
    path = run / f"evaluation_{split}.json"
    write_scores(path, experiment.labels, {split: found})
    if "reliability" in found.details:
        save_png(path.with_name(f"{path.stem}_reliability.png"), reliability_picture(found.details["reliability"]))
    return _numbers(path, split)


def _here(cfg: DictConfig) -> DictConfig:
    """One process on this machine, which need not have the devices of the one that trained."""
    accelerator = "cpu" if cfg.trainer.accelerator == "cpu" else "auto"
    cfg.trainer.update(accelerator=accelerator, devices=1, num_nodes=1, strategy="auto", sync_batchnorm=False)
    return cfg


def _count(run: Path, split: str) -> None:
    if split == "test":
        manifest.count_look(run, split)


def _numbers(path: Path, split: str) -> dict[str, float | None]:
    """The numbers of one split from a scores file."""
    found = json.loads(path.read_text(encoding="utf-8"))[split]
    return {name: value for name, value in found.items() if value is None or isinstance(value, int | float)}
