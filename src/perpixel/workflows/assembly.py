"""From a train config to objects: the one table of what each group must be."""

from __future__ import annotations

import copy
import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from perpixel.augment import Recipe
from perpixel.bundle.bundle import read_bundle_weights
from perpixel.config import admit, build, faults, together
from perpixel.config.monitor import refuse_unknown_class
from perpixel.config.ranges import normalisation_faults
from perpixel.config.schema import DataConfig
from perpixel.data import DataModule, DataSource
from perpixel.data.base import SplitName
from perpixel.data.files.class_pixels import total_pixels
from perpixel.data.files.inspection import all_faults_told
from perpixel.data.loading.canary import Canary, outside_canary
from perpixel.data.loading.fixed import FixedSamples
from perpixel.evaluation import Evaluator, measure_baselines
from perpixel.labels import PADDING_INDEX, PixelCounts
from perpixel.losses import Loss
from perpixel.losses.faults import config_faults as loss_faults
from perpixel.losses.weights import resolve_all
from perpixel.models import Encoder, SegmentationModel, Upsampling
from perpixel.models.build import build_network
from perpixel.models.transfer import transfer
from perpixel.optim import OptimizerFactory, Schedule
from perpixel.setup.settle import settle_batches, settle_length
from perpixel.spec import Normalise
from perpixel.sweeps.search import TRIAL_FILE, reporter
from perpixel.tracking.background_tracker import BackgroundTracker
from perpixel.tracking.loggers import Tracker
from perpixel.training import CacheFeatures, CanaryScores, Experiment, FirstBatch, Overlays, Pruning
from perpixel.workflows.conditions import image_conditions
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


INTEGERS = ("uint8", "uint16")
"""Depths of images whose values have a full scale."""

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
    """Everything wrong with a config's nodes, found by signature, and by making what is small: neither data nor model
    are built.
    """
    found = [
        fault
        for path, place in PLACES.items()
        for fault in faults(OmegaConf.select(cfg, path), place.base, path, place.given)
    ]
    loss = OmegaConf.to_container(cfg.loss, resolve=True)
    found += evaluation_faults(cfg.evaluation)
    return found or [
        *_unused(cfg),
        *_misfits(cfg),
        *_recipe_faults(cfg),
        *loss_faults(loss),
        *_out_of_range(cfg),
    ]


def _recipe_faults(cfg: DictConfig) -> list[str]:
    """A recipe needs no data to be built, so its ranges are checked before any are read."""
    try:
        _build(cfg, "augment", size=list(cfg.data.size or (64, 64)), fill=PADDING_INDEX)
    except ValueError as error:
        return [str(error)]
    return []


def _out_of_range(cfg: DictConfig) -> list[str]:
    """What the constructors refuse of objects that need neither data nor network: a factor of −1, a time of 0."""
    found = []
    for path in ("encoder", "decoder", "optimizer", "scheduler", "logger"):
        try:
            _build(cfg, path)
        except ValueError as error:
            found.append(str(error))
    return found


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
    if cfg.data.overfit is None:
        _refuse_without_val(source)
        return source
    with all_faults_told(source):
        return FixedSamples(source, cfg.data.overfit, cfg.seed)


def _refuse_without_val(source: DataSource) -> None:
    if "val" not in source.splits:
        raise ValueError(
            "the split 'val' is empty, as data.source.fractions says: training needs images to learn from and others "
            "to be judged on. Give it a share, as in data.source.fractions=[0.8,0.2,0]; to learn a few by heart, as a "
            "check of data and model, set data.overfit=1."
        )


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

    def count() -> PixelCounts:
        with all_faults_told(source):
            return total_pixels(outside_canary(source, canary), source.labels)

    node = resolve_all(
        cast(dict[str, Any], OmegaConf.to_container(cfg.loss, resolve=True)),
        count,
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
        repeat=cfg.data.repeat or 1,
        views=cfg.data.views,
        mean=cfg.data.mean,
        std=cfg.data.std,
        canary=cfg.data.canary if isinstance(cfg.data.canary, int | str | None) else list(cfg.data.canary),
    )


def settle(cfg: DictConfig, source: DataSource) -> None:
    """Write into ``cfg`` what it leaves to the data: crop, batch, channels, the length of epoch and training."""
    told = settle_batches(cfg, source, uses_gpu(cfg))
    told += settle_length(cfg, source, training_samples(cfg, source), world_size())
    if told:
        log.info("chosen by the data: %s", "; ".join(told))


def uses_gpu(cfg: DictConfig) -> bool:
    """Whether a training runs on one."""
    return bool(cfg.trainer.accelerator != "cpu" and torch.cuda.is_available())


def world_size() -> int:
    """Ranks of this training, of which this process may be one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def training_samples(cfg: DictConfig, source: DataSource) -> int:
    """Samples of the training split that are used (canaries that lie in it are few, and not looked for)."""
    return min(len(source.split("train")), cfg.data.limit or len(source.split("train")))


def settle_normalisation(cfg: DictConfig, source: DataSource) -> None:
    """Write into ``cfg`` how images are normalised, for the run's record and for whoever loads its weights.

    What was given counts; else what the encoder's pretrained weights expect of RGB images; else the data's own.

    Raises:
        ValueError: one of ``data.mean`` and ``data.std`` is given without the other.
    """
    if (cfg.data.mean is None) != (cfg.data.std is None):
        given, lacks = ("mean", "std") if cfg.data.std is None else ("std", "mean")
        raise ValueError(
            f"data.mean and data.std belong together, and data.{lacks} is missing: give both, as in "
            f"data.mean=[0.485,0.456,0.406] data.std=[0.229,0.224,0.225], or data.{given}=null."
        )
    if cfg.data.mean is not None:
        _refuse_beyond_full_scale(cfg, source)
        return
    encoder: Encoder = _build(cfg, "encoder")
    own = encoder.normalisation() if source.channels == 3 else None
    expected = own if own and _is_8_bit(source) else None
    chosen = expected or Normalise(source.mean, source.std)
    cfg.data.mean, cfg.data.std = list(chosen.mean), list(chosen.std)
    origin = f"which the weights of {encoder.name} expect" if expected else "of the data"
    origin += ", as the weights' own are for 8-bit images" if own and not expected else ""
    log.info("images are normalised by mean %s and std %s, %s", cfg.data.mean, cfg.data.std, origin)


def _refuse_beyond_full_scale(cfg: DictConfig, source: DataSource) -> None:
    """Integers have a full scale; what floats measure may be of any range."""
    if max(*cfg.data.mean, *cfg.data.std) <= 1 and min(cfg.data.mean) >= 0:
        return
    if _depth(source) in INTEGERS and (
        found := normalisation_faults("data", cfg.data.mean, cfg.data.std, source.channels, in_full_scale=True)
    ):
        raise together(found)


def image_dtype(source: DataSource) -> str:
    """dtype of the stored images, from the first training image: ``uint8``, ``uint16`` or ``float32``."""
    return str(source.split("train").read(0, np.random.default_rng(0)).image.dtype.name)


def _depth(source: DataSource) -> str | None:
    """The dtype of its first image; None where it cannot be read."""
    try:
        return image_dtype(source)
    except (ValueError, OSError):  # told, with all other faults, before training
        return None


def _is_8_bit(source: DataSource) -> bool:
    """By its first image: what photographs show on average says nothing of sensors that count to 65535."""
    return _depth(source) in ("uint8", None)


def build_optimizer(cfg: DictConfig) -> OptimizerFactory:
    """What makes the optimiser of a config, given the network."""
    factory: OptimizerFactory = _build(cfg, "optimizer")
    return factory


def build_tracker(cfg: DictConfig) -> Tracker:
    """The tracking service of a config."""
    tracker: Tracker = _build(cfg, "logger")
    return BackgroundTracker(tracker)


def build_evaluators(node: Any) -> list[Evaluator]:
    """What is measured when a split is scored, from the ``evaluation`` node; entries that are null are left out.

    Raises:
        ConfigError: all faults, each with its config path.
    """
    if found := evaluation_faults(node):
        raise together(found)
    return [build(each, Evaluator, f"evaluation.{name}") for name, each in _evaluator_nodes(node)]  # type: ignore[type-abstract]


def evaluation_faults(node: Any) -> list[str]:
    """Everything wrong with the ``evaluation`` node, ranges of settings included."""
    found = []
    for name, each in _evaluator_nodes(node):
        where = f"evaluation.{name}"
        wrong = faults(each, Evaluator, where)
        if not wrong:
            try:
                build(each, Evaluator, where)  # type: ignore[type-abstract]
            except ValueError as error:
                wrong = [f"{where}.{error}"]
        found += wrong
    return found


def _evaluator_nodes(node: Any) -> list[tuple[str, Any]]:
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return [(str(name), each) for name, each in (plain or {}).items() if each is not None]


def _pruning(cfg: DictConfig, run: Path) -> list[Pruning]:
    """Of a search's trial that may be pruned."""
    if not (run / TRIAL_FILE).is_file():
        return []
    report = reporter(run) if int(os.environ.get("RANK", "0")) == 0 else None
    return [Pruning(cfg.training.checkpoint.monitor, report)]


def _pictured(
    cfg: DictConfig, model: SegmentationModel, data: DataModule, run: Path, pictures: Pictures
) -> list[pl.Callback]:
    """What draws the first batch: training, or what reads all batches before it."""
    if data.views is not None and cfg.training.cache_features and getattr(model, "frozen", False):
        return [CacheFeatures(data, run, pictures.first_batch)]
    return [FirstBatch(run / "first_batch.png", pictures.first_batch)]


def assemble(
    cfg: DictConfig, run: Path, tracker_logger: Any, on_look: Callable[[str], None], restored: bool = False
) -> Experiment:
    """All objects of one training.

    Args:
        cfg: a composed, checked train config.
        run: the run directory, for pictures.
        tracker_logger: Lightning logger of the tracking service, None on ranks other than 0.
        on_look: called with a split's name before it is scored for the record.
        restored: a checkpoint will bring all weights, so nothing is said of those that the network begins with.
    """
    source = build_source(cfg)
    refuse_unknown_class(cfg.training.checkpoint.monitor, source.labels.names)
    settle(cfg, source)
    settle_normalisation(cfg, source)
    data = build_data(cfg, source)
    model = build_model(cfg, source.labels.num_classes, source.channels)
    if not restored and OmegaConf.select(cfg, "encoder.weights") == "none":
        log.info("encoder %s starts from random weights (encoder.weights=none)", cfg.encoder.name)
        if getattr(model, "frozen", False) and cfg.init_from is None:
            log.warning(
                "model.frozen=true keeps these random weights as they are. Give encoder.weights=imagenet (fetched from "
                "the hub) or a file, or train the encoder: model.frozen=false"
            )
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
        make_optimizer=build_optimizer(cfg),
        make_schedule=_build(cfg, "scheduler"),
        final_metrics=[each.metric(source.labels) for each in build_evaluators(cfg.evaluation)],
        loggers=[tracker_logger] if tracker_logger is not None else [],
        fit_callbacks=[
            *_pictured(cfg, model, data, run, pictures),
            *_pruning(cfg, run),
            *([CanaryScores(source.labels, data.canary_batches)] if data.canary is not None else []),
        ],
        val_callbacks=[Overlays(cfg.training.overlays, len(source.split("val")), pictures.overlay)],
        on_look=on_look,
        pixels=lambda split: sum(total_pixels(source.split(cast(SplitName, split)), source.labels).pixels),
        baselines=partial(measure_baselines, source),
        conditions=partial(image_conditions, source),
    )
