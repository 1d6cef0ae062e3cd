"""One training job in its run directory, in this process or over several ranks."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from perpixel.analysis.checkerboard import advice_for
from perpixel.analysis.shapes.graph import count_macs
from perpixel.bundle import ModelBundle
from perpixel.config import ConfigError, read_run_config, resumed_config, run_config_text
from perpixel.config.errors import UserFacingError
from perpixel.config.schema import TrainConfig
from perpixel.config.short import make_absolute, started_in
from perpixel.data import DataModule, DataSource
from perpixel.data.checks.cross_split_files import shared_samples, warning_of
from perpixel.data.files.inspection import BadFiles
from perpixel.data.folder.split_record import write_splits
from perpixel.data.hashing import refuse_changed_data
from perpixel.data.loading.timeouts import explained
from perpixel.data.unused import warning_of_unused
from perpixel.models import SegmentationModel
from perpixel.reporting.against import final_line, verdict
from perpixel.reporting.pictures import confusion_picture, curves_picture, reliability_picture
from perpixel.reporting.report import REPORT_FILE, write_report
from perpixel.setup.concerns import concerns
from perpixel.tracking import manifest
from perpixel.tracking.files import in_use, make_directory, naming, write_atomically
from perpixel.tracking.leaderboard import write_leaderboard
from perpixel.tracking.loggers import RunIdentity, Tracker, new_identifier
from perpixel.tracking.runs import SWEEP_FILE, load_run
from perpixel.tracking.symlinks import refuse_links
from perpixel.training import (
    CheckpointStore,
    Experiment,
    NonFinite,
    Scores,
    fit,
    handle_signals,
    launch_ranks,
    misconfigured,
    num_ranks,
    prepare_rank,
    started_by_launcher,
)
from perpixel.workflows.assembly import (
    assemble,
    build_tracker,
    check_nodes,
    training_samples,
    without_weights,
    world_size,
)
from perpixel.workflows.card import write_card
from perpixel.workflows.describe import model_spec
from perpixel.workflows.pictures import save_png

log = logging.getLogger(__name__)

BAD_FILES = "bad_files.txt"
SMALLEST_SPECTRUM = 56  # pixels; in smaller logits the upsampling grid cannot be told from content
OUT_OF_MEMORY = (
    "The device ran out of memory. Take less at once: data.batch_size (with trainer.accumulate_grad_batches to keep "
    "the effective size), data.size, data.eval_batch_size; or spend fewer bits: trainer.precision=bf16-mixed (16-mixed "
    "on older GPUs); or a smaller encoder=."
)


BATCH_OF_ONE = (
    "batch norm cannot train on a single value per channel: the batch holds one sample, and the network pools it to "
    "1×1. Take data.batch_size=2 or more (and as many training samples per rank), larger crops (data.size) where the "
    "encoder itself ends at 1×1, or a model without pooling to 1×1, such as model=unet."
)


class OutOfMemory(UserFacingError):
    """Memory was exhausted; the message says which settings to change."""


@handle_signals()
def run_job(
    cfg: DictConfig, run: Path, overrides: list[str], sweep: str | None, job: int | None, resume: bool = False
) -> None:
    """Train one config into a run directory, and keep its manifest.

    Args:
        cfg: a composed, checked train config.
        run: the run directory.
        overrides: what the user typed for this job.
        sweep: name of the sweep, None for a single run.
        job: number in the sweep.
        resume: go on with what the directory holds; else it must not hold a run.

    Raises:
        ValueError: the directory is another process's, or holds a run already.
    """
    make_absolute(cfg, started_in())
    make_directory(run)
    with in_use(run):
        before = manifest.read(run)
        if before and not resume:
            raise ValueError(
                f"'{run}' holds a run already ({before.get('status')}): go on with it by resume={run}, choose another "
                f"directory, or remove that one."
            )
        if before:
            facts: dict[str, Any] = {
                "resumed": [*before.get("resumed", []), {"at": manifest.now(), "changes": overrides}]
            }
        else:
            if not resume:  # else the process died before it could write its manifest
                write_atomically(run / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))
            identifier = new_identifier(run, datetime.now(UTC).isoformat())
            facts = {"name": run.name, "id": identifier, "job": job, "sweep": sweep, "seed": cfg.seed, "looks": {}}
        CheckpointStore(run / "checkpoints").tidy()  # here, where one process has the directory for itself
        finished = before.get("status") == "finished"
        # what has a config and a manifest can be resumed
        with _config_kept(cfg, run, finished) as went_on, manifest.recording(run, went_on, **facts):
            _run_ranks(cfg, run, resume)
        _summarise(run)


def _refuse_absent(cfg: DictConfig) -> None:
    """Refuse what needs a device that this machine does not have."""
    if cfg.trainer.sync_batchnorm and not torch.cuda.is_available():
        raise ValueError("trainer.sync_batchnorm=true: torch synchronises batch norm on GPUs only, and here is none.")
    apple = torch.backends.mps.is_available()
    there = {"cuda": torch.cuda.is_available(), "mps": apple, "gpu": torch.cuda.is_available() or apple}
    if not there.get(accelerator := cfg.trainer.accelerator, True):
        raise ValueError(f"trainer.accelerator={accelerator}: torch finds no such device here. Choose auto or cpu.")


@contextmanager
def _config_kept(cfg: DictConfig, run: Path, finished: bool) -> Iterator[Callable[[], bool]]:
    """Save the config; where a resumed run fails before its next state, the one it had comes back. (One that is told to
    stop keeps it for its next turn, unless it was finished.)

    That the data may have changed is said once, not for ever.

    Yields:
        Tells whether the run has got further than it was.
    """
    path, store = run / "config.yaml", CheckpointStore(run / "checkpoints")
    before, states = path.read_text(encoding="utf-8") if path.exists() else None, store.entries("state")
    write_atomically(path, run_config_text(cfg))

    def went_on() -> bool:
        return store.entries("state") != states

    try:
        yield went_on
    except BaseException as error:
        if before is not None and not went_on() and (finished or isinstance(error, Exception)):
            write_atomically(path, before)
        raise
    finally:
        if cfg.data.allow_changed:
            saved = read_run_config(path)
            saved.data.allow_changed = False
            write_atomically(path, run_config_text(saved))


def _run_ranks(cfg: DictConfig, run: Path, resume: bool) -> None:
    _refuse_absent(cfg)
    ranks = num_ranks(cfg.trainer.accelerator, _plain(cfg.trainer.devices))
    if ranks > 1 and not started_by_launcher():
        log.info("starting %d ranks", ranks)
        launch_ranks("perpixel.workflows.job", [str(run), *(["resume"] if resume else [])], ranks)
    else:
        train(cfg, run, resume)


def resume_job(directory: Path, overrides: Sequence[str]) -> Callable[[], None]:
    """Check that a run can go on; the function that is returned does it.

    Raises:
        ConfigError: the run's config or the changes have faults, or there is nothing left to do.
    """
    run = directory.resolve()
    refuse_links(run)
    cfg, changes = resumed_config(run, overrides)
    check_nodes(cfg)
    try:
        status = manifest.read(run).get("status")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if status == "finished" and not changes:
        raise ConfigError(
            f"resume={directory}: this run is finished. To train longer name what changes, as trainer.max_epochs=…"
        )
    if status == "finished" and cfg.trainer.enable_checkpointing is False and not (run / "checkpoints").exists():
        raise ConfigError(
            f"resume={directory}: this run is finished and kept no state to go on from. Start a new one with "
            f"init_from={directory}, which begins with its weights."
        )
    return lambda: run_job(cfg, run, changes, sweep=None, job=None, resume=True)


def train(cfg: DictConfig, run: Path, resume: bool = False) -> None:
    """Train in this process: the whole job, or one rank of it.

    Raises:
        OutOfMemory: with the settings to change.
        ValueError: files are faulty; all of them are listed in the run directory.
    """
    try:
        with misconfigured():
            _train(cfg, run, resume)
    except BadFiles as error:
        write_atomically(run / BAD_FILES, error.listing + "\n")
        raise ValueError(f"{error}\nThe whole list stands in '{run / BAD_FILES}'.") from error
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"{error}\n{OUT_OF_MEMORY}") from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(f"{BATCH_OF_ONE} ({error})") from error
    except RuntimeError as error:
        if lost := explained(error):
            raise lost from error
        if "can't allocate memory" not in str(error):  # torch's CPU allocator has no exception class of its own
            raise
        raise OutOfMemory(f"{error}\n{OUT_OF_MEMORY}") from error


def _train(cfg: DictConfig, run: Path, resume: bool) -> None:
    newest = CheckpointStore(run / "checkpoints").to_go_on_from() if resume else None
    if newest is not None:
        cfg = without_weights(cfg)
    elif resume:
        log.info("going on from the beginning: there is no checkpoint yet")
    first = int(os.environ.get("RANK", "0")) == 0
    tracker = build_tracker(cfg) if first else None
    failed = True
    try:
        logger = tracker.start(_identity(cfg, run, newest[1].step if newest else None)) if tracker else None
        experiment = assemble(cfg, run, logger, lambda split: _look(run, split, first), restored=newest is not None)
        settings = typed(cfg)  # of the config with what was settled
        experiment = replace(experiment, on_rollback=lambda found: _note_rollback(run, found, first))
        _refuse_no_batch(cfg, cast(DataModule, experiment.data))
        if first:
            if not resume:
                write_atomically(run / "config.yaml", run_config_text(cfg))  # with what was settled
            _describe(cfg, experiment, run, anything_goes=newest is None or cfg.data.allow_changed)
        scores = fit(experiment, settings.trainer, settings.training, run, newest)
        if first:
            _finish(cfg, experiment, run, scores, tracker)
        failed = False
    finally:
        if tracker is not None:
            tracker.finish(failed)


def _refuse_no_batch(cfg: DictConfig, data: DataModule) -> None:
    """Refuse shares of a split that are less than one batch, before a training that they would end."""
    for split in ("val", "test"):
        share = cfg.trainer[f"limit_{split}_batches"]
        if not isinstance(share, float) or not 0 < share < 1 or split not in data.source.splits:
            continue
        if (count := len(data.eval_dataloader(split))) * share < 1:
            raise ValueError(
                f"trainer.limit_{split}_batches={share}: the split has {count} batches, and that share is less than "
                f"one of them. Give {math.ceil(1000 / count) / 1000} or more, a number of batches, or a smaller "
                "data.eval_batch_size."
            )


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


def _identity(cfg: DictConfig, run: Path, step: int | None) -> RunIdentity:
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    known = manifest.read(run)
    return RunIdentity(run, run.name, known.get("sweep"), config, step, known.get("id"))


def _look(run: Path, split: str, first: bool) -> None:
    if split == "test" and first:
        manifest.count_look(run, split)


def _note_rollback(run: Path, found: NonFinite, first: bool) -> None:
    if first:
        noted = {"step": found.step.number, "epoch": found.step.epoch, "samples": found.names}
        manifest.update(run, rolled_back=[*manifest.read(run).get("rolled_back", []), noted])


def _describe(cfg: DictConfig, experiment: Experiment, run: Path, anything_goes: bool) -> None:
    """Write down what is trained, on what; where nothing has been trained yet, the data may still change."""
    parameters = sum(parameter.numel() for parameter in experiment.model.parameters())
    data = cast(DataModule, experiment.data)
    now = data.fingerprints()
    refuse_changed(data.source, now, run, anything_goes)
    if data.canary is not None:
        write_atomically(run / "canary.json", json.dumps({"names": data.canary.names}, indent=1) + "\n")
    write_splits(data.source, run / "splits.json")
    (run / BAD_FILES).unlink(missing_ok=True)  # of a start that was refused
    if left_out := data.source.quarantined:
        write_atomically(run / BAD_FILES, "\n".join(left_out) + "\n")
        log.warning(
            "data.on_bad_file=skip: %d faulty pairs are left out; %s tells which, and why",
            len(left_out), run / BAD_FILES,
        )  # fmt: skip
    if unused := data.source.unused:
        log.warning(warning_of_unused(unused))
    if shared := shared_samples(data.source):
        log.warning(warning_of(shared))
    for told in concerns(data.source, cfg, training_samples(cfg, data.source), world_size()):
        log.warning(told)
    manifest.update(run, data=now, bad_files=data.source.quarantined, parameters=parameters)
    log.info("%s: %s parameters; run directory %s", type(experiment.model).__name__, f"{parameters:,}", run)


def refuse_changed(source: DataSource, now: Mapping[str, str], run: Path, allowed: bool) -> None:
    """Compare fingerprints with those that a run was trained on.

    Raises:
        ValueError: they differ, and that was not allowed.
    """
    before = manifest.read(run)
    left_out = set(source.quarantined) - set(before.get("bad_files", ()))
    refuse_changed_data(now, before.get("data", {}), allowed, left_out)


def _finish(
    cfg: DictConfig, experiment: Experiment, run: Path, scores: dict[str, Scores], tracker: Tracker | None
) -> None:
    with naming(run / "curves.png"):
        curves_picture(run / "metrics.jsonl", run / "curves.png")
    pictures = {"curves": run / "curves.png", "first batch": run / "first_batch.png"}
    for split, found in scores.items():
        path = run / f"confusion_{split}.png"
        save_png(path, confusion_picture(found.details["confusion"], experiment.labels.names))
        pictures[f"confusion/{split}"] = path
        if "reliability" in found.details:
            path = run / f"reliability_{split}.png"
            save_png(path, reliability_picture(found.details["reliability"]))
            pictures[f"reliability/{split}"] = path
    pictures |= {f"overlays/{path.stem}": path for path in sorted((run / "overlays").glob("*.png"))}
    model, data = cast(SegmentationModel, experiment.model), cast(DataModule, experiment.data)
    ModelBundle(model_spec(cfg, model, data.source, run, scores), model).save(run / "model")
    _advise(run, model, data)
    write_card(run)
    if tracker is not None:
        tracker.pictures({title: path for title, path in pictures.items() if path.exists()})


@handle_signals()
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


def _advise(run: Path, model: SegmentationModel, data: DataModule) -> None:
    """Note what the trained model costs, score its checkerboard, and say so where its logits carry the grid of its
    upsampling.
    """
    batch = data.on_after_batch_transfer(next(iter(data.eval_dataloader("val"))), 0)
    _note_cost(run, model, batch["image"][:1])
    height, width = batch["image"].shape[-2:]
    if min(height, width) < SMALLEST_SPECTRUM:
        log.info(
            "no checkerboard score: the validation images have %d×%d pixels, and it takes %d on each side",
            *(height, width, SMALLEST_SPECTRUM),
        )
        return
    found, told = advice_for(model, batch["image"])
    manifest.update(run, checkerboard=found)
    if told:
        log.warning(told)


def _note_cost(run: Path, model: SegmentationModel, image: Tensor) -> None:
    """What a val image takes, for tables of cost; an operation that cannot be counted must not cost a training."""
    try:
        manifest.update(run, macs={"count": count_macs(model, image), "size": list(image.shape[-2:])})
    except Exception:
        log.exception("the multiply-accumulates of %s could not be counted; the run is not affected", run)


def _summarise(run: Path) -> None:
    """The last lines: scores beside what guesses score, what to think of them, and where the report is."""
    finished = load_run(run)
    if not finished.scores:
        return
    log.info("finished: %s (%s)", final_line(finished), run)
    if told := verdict(finished):
        log.warning(told)
    log.info("report: %s", run / REPORT_FILE)


@handle_signals()
def _rank_main() -> None:
    """A rank: train from the run directory's own config."""
    from torch.distributed.elastic.multiprocessing.errors import record

    from perpixel.config import install

    prepare_rank()
    install()
    logging.basicConfig(level=logging.INFO if os.environ["RANK"] == "0" else logging.ERROR, format="%(message)s")
    run = Path(sys.argv[1])
    record(train)(read_run_config(run / "config.yaml"), run, "resume" in sys.argv[2:])


if __name__ == "__main__":
    _rank_main()
