"""Score a run's best checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from perpixel.cli.evaluate import read_scores
from perpixel.cli.experiment import assemble, check_nodes, without_weights
from perpixel.cli.job import typed
from perpixel.data import DataModule
from perpixel.data.hashing import refuse_changed_data
from perpixel.tracking import manifest
from perpixel.training import SegmentationModule, evaluate, load_best, write_scores


def score_run(run: Path, cfg: DictConfig, split: str, allow_changed: bool) -> dict[str, float | None]:
    """Scores of a run's best weights on a split, by name; a look at test is counted in the manifest.

    Raises:
        ValueError: the split does not exist, or its content hash is not the one in the manifest.
    """
    check_nodes(cfg)
    cfg = without_weights(cfg)
    experiment = assemble(cfg, run, None, lambda name: _count(run, name))
    if split not in experiment.splits or split == "train":
        scored = [name for name in experiment.splits if name != "train"]
        raise ValueError(f"split={split}: this data set can be scored on {', '.join(scored)}.")
    now = {split: cast(DataModule, experiment.data).fingerprints()[split]}
    refuse_changed_data(now, manifest.read(run).get("data", {}), allow_changed)
    module = SegmentationModule(experiment.model, experiment.loss, experiment.labels)
    load_best(module, run)
    one_process = replace(typed(cfg).trainer, devices=1, strategy="auto")
    found = evaluate(module, experiment, one_process, split)
    path = run / f"evaluation_{split}.json"
    write_scores(path, experiment.labels, {split: found})
    return read_scores(path, split)


def _count(run: Path, split: str) -> None:
    if split == "test":
        manifest.count_look(run, split)
