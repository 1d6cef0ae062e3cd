"""One training job in its run directory, in this process or over several ranks."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf

from perpixel.cli.experiment import assemble, build_tracker
from perpixel.cli.pictures import save_png
from perpixel.config.schema import TrainConfig
from perpixel.data import DataModule
from perpixel.export.bundle import save_bundle
from perpixel.models import SegmentationModel
from perpixel.models.checkerboard import advice, measure_checkerboard
from perpixel.reporting.pictures import confusion_picture, curves_picture
from perpixel.reporting.report import write_report
from perpixel.tracking import manifest
from perpixel.tracking.leaderboard import write_leaderboard
from perpixel.tracking.loggers import RunIdentity, Tracker
from perpixel.tracking.runs import SWEEP_FILE
from perpixel.training import Experiment, Scores, fit, launch_ranks, num_ranks, prepare_rank, started_by_launcher

log = logging.getLogger(__name__)

SMALLEST_SPECTRUM = 56  # pixels; in smaller logits the upsampling grid cannot be told from content
OUT_OF_MEMORY = (
    "The device ran out of memory. Take less at once: data.batch_size (with trainer.accumulate_grad_batches to keep "
    "the effective size), data.size, data.eval_batch_size; or spend fewer bits: trainer.precision=bf16-mixed (16-mixed "
    "on older GPUs); or a smaller encoder=."
)


class OutOfMemory(RuntimeError):
    """Memory was exhausted; the message says which settings to change."""


def run_job(cfg: DictConfig, run: Path, overrides: list[str], sweep: str | None, job: int | None) -> None:
    """Train one config into a run directory, and keep its manifest.

    Args:
        cfg: a composed, checked train config.
        run: the run directory.
        overrides: what the user typed for this job.
        sweep: name of the sweep, None for a single run.
        job: number in the sweep.
    """
    run.mkdir(parents=True, exist_ok=True)
    if cfg.trainer.sync_batchnorm and not torch.cuda.is_available():
        raise ValueError("trainer.sync_batchnorm=true: torch synchronises batch norm on GPUs only, and here is none.")
    if manifest.read(run):
        raise ValueError(f"'{run}' holds a run already: choose another directory, or remove that one.")
    OmegaConf.save(cfg, run / "config.yaml", resolve=True)
    OmegaConf.save(OmegaConf.create(overrides), run / "overrides.yaml")
    with manifest.recording(run, name=run.name, job=job, sweep=sweep, seed=cfg.seed, looks={}):
        ranks = num_ranks(cfg.trainer.accelerator, _plain(cfg.trainer.devices))
        if ranks > 1 and not started_by_launcher():
            log.info("starting %d ranks", ranks)
            launch_ranks("perpixel.cli.job", [str(run)], ranks)
        else:
            train(cfg, run)
    _summarise(run)


def train(cfg: DictConfig, run: Path) -> None:
    """Train in this process: the whole job, or one rank of it.

    Raises:
        OutOfMemory: with the settings to change.
    """
    try:
        _train(cfg, run)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"{error}\n{OUT_OF_MEMORY}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch's CPU allocator has no exception class of its own
            raise
        raise OutOfMemory(f"{error}\n{OUT_OF_MEMORY}") from error


def _train(cfg: DictConfig, run: Path) -> None:
    first = int(os.environ.get("RANK", "0")) == 0
    settings = typed(cfg)
    tracker = build_tracker(cfg) if first else None
    failed = True
    try:
        logger = tracker.start(_identity(cfg, run)) if tracker else None
        experiment = assemble(cfg, run, logger, lambda split: _look(run, split, first))
        if first:
            _describe(experiment, run)
        scores = fit(experiment, settings.trainer, settings.training, run)
        if first:
            _finish(cfg, experiment, run, scores, tracker)
        failed = False
    finally:
        if tracker is not None:
            tracker.finish(failed)


def typed(cfg: DictConfig) -> TrainConfig:
    """Trainer and training keys as the dataclasses that they were checked against."""
    root = OmegaConf.structured(TrainConfig)
    merged = OmegaConf.merge(
        {"trainer": root.trainer, "training": root.training}, {"trainer": cfg.trainer, "training": cfg.training}
    )
    if num_ranks(cfg.trainer.accelerator, _plain(cfg.trainer.devices)) > 1 and merged.trainer.devices == "auto":
        merged.trainer.devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return TrainConfig(trainer=OmegaConf.to_object(merged.trainer), training=OmegaConf.to_object(merged.training))  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _identity(cfg: DictConfig, run: Path) -> RunIdentity:
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    return RunIdentity(run, run.name, manifest.read(run).get("sweep"), config)


def _look(run: Path, split: str, first: bool) -> None:
    if split == "test" and first:
        manifest.count_look(run, split)


def _describe(experiment: Experiment, run: Path) -> None:
    parameters = sum(parameter.numel() for parameter in experiment.model.parameters())
    data = cast(DataModule, experiment.data)
    manifest.update(run, data=data.fingerprints(), bad_files=data.source.quarantined, parameters=parameters)
    log.info("%s: %s parameters; run directory %s", type(experiment.model).__name__, f"{parameters:,}", run)


def _finish(
    cfg: DictConfig, experiment: Experiment, run: Path, scores: dict[str, Scores], tracker: Tracker | None
) -> None:
    curves_picture(run / "metrics.jsonl", run / "curves.png")
    pictures = {"curves": run / "curves.png", "first batch": run / "first_batch.png"}
    for split, found in scores.items():
        path = run / f"confusion_{split}.png"
        save_png(path, confusion_picture(found.confusion, experiment.labels.names))
        pictures[f"confusion/{split}"] = path
    pictures |= {f"overlays/{path.stem}": path for path in sorted((run / "overlays").glob("*.png"))}
    model, data = cast(SegmentationModel, experiment.model), cast(DataModule, experiment.data)
    save_bundle(run / "model", model, cfg, experiment.labels, data)
    _advise(model, data)
    if tracker is not None:
        tracker.pictures({title: path for title, path in pictures.items() if path.exists()})


def write_results(directory: Path) -> None:
    """Rewrite the leaderboard and report of a sweep, or the report of a single run.

    A fault in a report must not cost a training: it is logged.
    """
    try:
        if (directory / SWEEP_FILE).is_file():
            write_leaderboard(directory)
        write_report(directory)
    except Exception:
        log.exception("the report in %s could not be written; the runs are not affected", directory)


def _advise(model: SegmentationModel, data: DataModule) -> None:
    """Say so where the trained model's logits carry the grid of its upsampling."""
    batch = data.on_after_batch_transfer(next(iter(data.eval_dataloader("val"))), 0)
    if min(batch["image"].shape[-2:]) >= SMALLEST_SPECTRUM and (
        told := advice(measure_checkerboard(model, batch["image"]))
    ):
        log.warning(told)


def _summarise(run: Path) -> None:
    path = run / "metrics.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        line = ", ".join(f"{split} mIoU {found[split]['mIoU']:.4f}" for split in ("val", "test") if split in found)
        log.info("finished: %s (%s)", line, run)


def _rank_main() -> None:
    """A rank: train from the run directory's own config."""
    from torch.distributed.elastic.multiprocessing.errors import record

    from perpixel.config import install

    prepare_rank()
    install()
    logging.basicConfig(level=logging.INFO if os.environ["RANK"] == "0" else logging.ERROR, format="%(message)s")
    run = Path(sys.argv[1])
    record(train)(cast(DictConfig, OmegaConf.load(run / "config.yaml")), run)


if __name__ == "__main__":
    _rank_main()
