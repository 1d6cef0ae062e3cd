"""From a train config to objects: the one table of what each group must be."""

from __future__ import annotations

import copy
import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
from omegaconf import DictConfig, OmegaConf

from perpixel.augment import Recipe
from perpixel.bundle.bundle import read_bundle_weights
from perpixel.config import admit, build, faults, together
from perpixel.config.schema import DataConfig, EvaluationConfig
from perpixel.data import DataModule, DataSource
from perpixel.data.files.class_pixels import total_pixels
from perpixel.data.loading.canary import Canary, outside_canary
from perpixel.data.loading.fixed import FixedSamples
from perpixel.evaluation import final_metrics
from perpixel.losses import Loss
from perpixel.losses.faults import config_faults as loss_faults
from perpixel.losses.weights import resolve_all
from perpixel.models import Encoder, SegmentationModel, Upsampling
from perpixel.models.build import build_network
from perpixel.models.transfer import transfer
from perpixel.optim import OptimizerFactory, Schedule
from perpixel.spec import Normalise
from perpixel.sweeps.search import TRIAL_FILE, reporter
from perpixel.tracking.background_tracker import BackgroundTracker
from perpixel.tracking.loggers import Tracker
from perpixel.training import CanaryScores, Experiment, FirstBatch, Overlays, Pruning
from perpixel.workflows.pictures import Pictures

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A node that is built.

    Attributes:
        base: what the object must be.
        given: names of arguments that perpixel passes.
    """

    base: type
    given: tuple[str, ...] = ()


OF_FILES = ("policy", "on_bad_file", "max_bad")
"""Keys of ``data`` that go to the source; one that is embedded has no use for them."""

PLACES: Mapping[str, Place] = {
    "data.source": Place(DataSource, OF_FILES),
    "augment": Place(Recipe, ("size", "fill")),
    "encoder": Place(Encoder),
    "decoder": Place(Upsampling),
    "model": Place(SegmentationModel, ("encoder", "upsampling", "num_classes", "in_channels")),
    "loss": Place(Loss, ("ignore_index",)),
    "optimizer": Place(OptimizerFactory),
    "scheduler": Place(Schedule),
    "logger": Place(Tracker),
}


def config_faults(cfg: DictConfig) -> list[str]:
    """Everything wrong with a config's nodes, found by signature: neither data nor model are built."""
    found = [
        fault
        for path, place in PLACES.items()
        for fault in faults(OmegaConf.select(cfg, path), place.base, path, place.given)
    ]
    loss = OmegaConf.to_container(cfg.loss, resolve=True)
    return found or [*_unused(cfg), *_misfits(cfg), *loss_faults(loss)]


def _unused(cfg: DictConfig) -> list[str]:
    """Keys for files that were set for a data set that takes none of them."""
    source = admit(cfg.data.source._target_, DataSource, "data.source")
    taken, untouched = inspect.signature(source).parameters, DataConfig()
    return [
        f"data.{key}={cfg.data[key]}: {source.__name__} takes none; leave it out."
        for key in OF_FILES
        if key not in taken and cfg.data[key] != getattr(untouched, key)
    ]


def _misfits(cfg: DictConfig) -> list[str]:
    """Choices that are sound alone and do not go together."""
    model, decoder, loss = (admit(cfg[path]._target_, PLACES[path].base, path) for path in ("model", "decoder", "loss"))
    found = []
    for check, kind in ((model.check_upsampling, decoder), (model.check_loss, loss)):  # type: ignore[attr-defined]
        try:
            check(kind)
        except ValueError as error:
            found.append(str(error))
    return found


def check_nodes(cfg: DictConfig) -> None:
    """Refuse a config whose nodes cannot be built.

    Raises:
        ConfigError: all faults, each with its config path.
    """
    if found := config_faults(cfg):
        raise together(found)


def _build(cfg: DictConfig, path: str, **given: Any) -> Any:
    return build(OmegaConf.select(cfg, path), PLACES[path].base, path, **given)


def build_source(cfg: DictConfig) -> DataSource:
    """The data set of a config.

    Raises:
        ConfigError: its node has faults, or a key of ``data`` is set that it has no use for.
        ValueError: it has one class in all.
    """
    if "_target_" in cfg.data.source and (found := _unused(cfg)):
        raise together(found)
    source: DataSource = _build(cfg, "data.source", **{key: cfg.data[key] for key in OF_FILES})
    _refuse_one_class(source.labels.names)
    return source if cfg.data.overfit is None else FixedSamples(source, cfg.data.overfit, cfg.seed)


def _refuse_one_class(names: Sequence[str]) -> None:
    """Every prediction would be right, and every score perfect."""
    if len(names) == 1:
        raise ValueError(
            f"the data have only one class, '{names[0]}', so there is nothing to distinguish. Give the rest of each "
            "image a class of its own: data.source.classes=[background,thing] (data.source.binary=true for 0/255 "
            "masks; data.source.default_class=background for drawn shapes); in a policy, "
            "'- {name: background, from: 0}' instead of 'ignore: 0'."
        )


def build_model(cfg: DictConfig, num_classes: int, in_channels: int) -> SegmentationModel:
    """The network of a config, initialised from ``cfg.seed``."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    return build_network(cfg, num_classes, in_channels)


def build_loss(cfg: DictConfig, source: DataSource, canary: Canary | None = None) -> Loss:
    """The loss of a config; rules of class weights are resolved with the pixel counts of what is trained on."""
    node = resolve_all(
        cast(dict[str, Any], OmegaConf.to_container(cfg.loss, resolve=True)),
        lambda: total_pixels(outside_canary(source, canary), source.labels),
    )
    loss: Loss = build(node, PLACES["loss"].base, "loss", ignore_index=source.labels.fill)
    return loss


def without_weights(cfg: DictConfig) -> DictConfig:
    """The config for weights that a checkpoint brings: those it began with need not be found again."""
    cfg = copy.deepcopy(cfg)
    cfg.init_from = None
    if OmegaConf.select(cfg, "encoder.weights") is not None:
        cfg.encoder.weights, cfg.encoder.sha256 = "none", None
    return cfg


def build_recipe(cfg: DictConfig, source: DataSource) -> Recipe:
    """The augmentation of a config, padding with the source's ignore value."""
    recipe: Recipe = _build(cfg, "augment", size=list(cfg.data.size), fill=source.labels.fill)
    recipe.check_classes(source.labels.names)
    return recipe


def build_data(cfg: DictConfig, source: DataSource) -> DataModule:
    """The loaders of a config."""
    return DataModule(
        source,
        build_recipe(cfg, source),
        batch_size=cfg.data.batch_size,
        eval_batch_size=cfg.data.eval_batch_size,
        num_workers=cfg.data.num_workers,
        seed=cfg.seed,
        timeout_s=cfg.data.timeout_s,
        limit=cfg.data.limit,
        mean=cfg.data.mean,
        std=cfg.data.std,
        canary=cfg.data.canary if isinstance(cfg.data.canary, int | str | None) else list(cfg.data.canary),
    )


def settle_normalisation(cfg: DictConfig, source: DataSource) -> None:
    """Write into ``cfg`` how images are normalised, for the run's record and for whoever loads its weights.

    What was given counts; else what the encoder's pretrained weights expect of RGB images; else the data's own.

    Raises:
        ValueError: one of ``data.mean`` and ``data.std`` is given without the other.
    """
    if (cfg.data.mean is None) != (cfg.data.std is None):
        raise ValueError("data.mean and data.std belong together: give both, or neither.")
    if cfg.data.mean is not None:
        return
    encoder: Encoder = _build(cfg, "encoder")
    own = encoder.normalisation() if source.channels == 3 else None
    expected = own if own and _is_8_bit(source) else None
    chosen = expected or Normalise(source.mean, source.std)
    cfg.data.mean, cfg.data.std = list(chosen.mean), list(chosen.std)
    origin = f"which the weights of {encoder.name} expect" if expected else "of the data"
    origin += ", as the weights' own are for 8-bit images" if own and not expected else ""
    log.info("images are normalised by mean %s and std %s, %s", cfg.data.mean, cfg.data.std, origin)


def _is_8_bit(source: DataSource) -> bool:
    """By its first image: what photographs show on average says nothing of sensors that count to 65535."""
    try:
        return source.split("train").read(0, np.random.default_rng(0)).image.dtype == np.uint8
    except (ValueError, OSError):  # told, with all other faults, before training
        return True


def build_tracker(cfg: DictConfig) -> Tracker:
    """The tracking service of a config."""
    tracker: Tracker = _build(cfg, "logger")
    return BackgroundTracker(tracker)


def _evaluation(cfg: DictConfig) -> EvaluationConfig:
    typed = OmegaConf.merge(OmegaConf.structured(EvaluationConfig), cfg.evaluation)
    return cast(EvaluationConfig, OmegaConf.to_object(typed))


def _pruning(cfg: DictConfig, run: Path) -> list[Pruning]:
    """Of a search's trial that may be pruned."""
    if not (run / TRIAL_FILE).is_file():
        return []
    report = reporter(run) if int(os.environ.get("RANK", "0")) == 0 else None
    return [Pruning(cfg.training.checkpoint.monitor, report)]


def assemble(cfg: DictConfig, run: Path, tracker_logger: Any, on_look: Callable[[str], None]) -> Experiment:
    """All objects of one training.

    Args:
        cfg: a composed, checked train config.
        run: the run directory, for pictures.
        tracker_logger: Lightning logger of the tracking service, None on ranks other than 0.
        on_look: called with a split's name before it is scored for the record.
    """
    source = build_source(cfg)
    settle_normalisation(cfg, source)
    data = build_data(cfg, source)
    model = build_model(cfg, source.labels.num_classes, source.channels)
    if OmegaConf.select(cfg, "encoder.weights") == "none":
        log.info("encoder %s starts from random weights (encoder.weights=none)", cfg.encoder.name)
    if cfg.init_from is not None:
        adaptation: Any = OmegaConf.select(cfg, "encoder.input_adaptation", default="repeat")
        taken = transfer(model, read_bundle_weights(Path(cfg.init_from)), adaptation)
        log.log(taken.level, "init_from=%s: %s", cfg.init_from, taken)
    loss = build_loss(cfg, source, data.canary)
    model.check_loss(type(loss))
    if "weight" in source.extras:
        loss.check_pixel_weights()
    pictures = Pictures(data, run)
    return Experiment(
        model=model,
        loss=loss,
        labels=source.labels,
        data=data,
        splits=source.splits,
        make_optimizer=_build(cfg, "optimizer"),
        make_schedule=_build(cfg, "scheduler"),
        final_metrics=final_metrics(_evaluation(cfg), source.labels),
        loggers=[tracker_logger] if tracker_logger is not None else [],
        fit_callbacks=[
            FirstBatch(run / "first_batch.png", pictures.first_batch),
            *_pruning(cfg, run),
            *([CanaryScores(source.labels, data.canary_batches)] if data.canary is not None else []),
        ],
        val_callbacks=[Overlays(cfg.training.overlays, len(source.split("val")), pictures.overlay)],
        on_look=on_look,
    )
