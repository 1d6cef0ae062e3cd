"""Score a trained model on a split of its own data, or of other data with the same classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from perpixel.augment.plain import Plain
from perpixel.bundle import ModelBundle, Predictor
from perpixel.bundle.bundle import DESCRIPTION, find_bundle
from perpixel.config import compose
from perpixel.config.schema import DataConfig
from perpixel.data import DataModule, DataSource
from perpixel.data.base import SplitName
from perpixel.evaluation import score
from perpixel.inference.backend import TorchBackend
from perpixel.labels import LabelSpace
from perpixel.reporting.pictures import reliability_picture
from perpixel.tracking import manifest
from perpixel.training import CheckpointStore, Scores, write_scores
from perpixel.uncertainty import Interval, read_intervals
from perpixel.workflows.assembly import build_evaluators, build_model, build_source, check_nodes, without_weights
from perpixel.workflows.conditions import image_conditions
from perpixel.workflows.describe import spec_of_config
from perpixel.workflows.job import refuse_changed
from perpixel.workflows.load import usable_device
from perpixel.workflows.pictures import save_png

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is to be scored.

    Attributes:
        model: a run directory, or a bundle.
        split: ``val`` or ``test``.
        data: the node ``data`` of other data than the run's; None for its own.
        trained: the run's config (with the changes that the user named), None for a bundle without its run.
        evaluation: evaluators by name; None as the run was scored, or the default ones.
        batch_size: images of a batch; None for the data's own ``eval_batch_size``.
        device: see :func:`perpixel.load`.
        output: folder of the results; None for the run directory.
    """

    model: Path
    split: str
    data: DictConfig | None = None
    trained: DictConfig | None = None
    evaluation: Any = None
    batch_size: int | None = None
    device: str = "auto"
    output: Path | None = None


@dataclass(frozen=True)
class Found:
    """Scores by name (None where undefined), their intervals, and the file that holds them."""

    scores: Mapping[str, float | None]
    path: Path
    intervals: Mapping[str, Interval]


def evaluate(request: Request) -> Found:
    """Score a model on a whole split; a look at the test split of its own data is counted in the run's manifest.

    Leaves ``evaluation_<split>.json`` and, where calibration is measured, ``evaluation_<split>_reliability.png``.

    Raises:
        ValueError: there is no model or no such split, the data have changed since the training, or other data have
            classes that the model does not have.
    """
    if request.trained is not None:
        check_nodes(request.trained)
    cfg = _data_config(request)
    source = build_source(cfg)
    split = _split_name(request.split, source)
    run = request.model if request.trained is not None else None
    if request.data is None and run is not None:
        refuse_changed(source, {split: source.split(split).fingerprint()}, run, bool(cfg.data.allow_changed))
    predictor = _predictor(request, source)
    to_model = class_map(source.labels, predictor.spec.labels)
    source.split(split).verify(None)
    evaluators = build_evaluators(_evaluation(request))
    if split == "test" and request.data is None and run is not None:
        manifest.count_look(run, split)
    loader = DataModule(
        source,
        Plain(predictor.spec.train_size, fill=source.labels.fill),
        batch_size=1,
        eval_batch_size=request.batch_size or cfg.data.eval_batch_size,
        num_workers=cfg.data.num_workers,
        timeout_s=cfg.data.timeout_s,
    ).eval_dataloader(split)
    found = dict(score(predictor, cast(Any, loader), evaluators, to_model))
    values = {name: value for name, value in found.items() if isinstance(value, float)}
    details = {name: value for name, value in found.items() if name not in values}
    return _write(request, source, split, predictor.spec.labels, Scores(values, details))


def class_map(data: LabelSpace, model: LabelSpace) -> Callable[[Tensor], Tensor]:
    """How class indices of some data become those of a model: classes agree by name.

    Classes of the model that the data do not have are reported; they are absent from the truth.

    Raises:
        ValueError: the data have classes that the model does not have.
    """
    unknown = [name for name in data.names if name not in model.names]
    if unknown:
        raise ValueError(
            f"the data have classes that the model does not have: {', '.join(unknown)}. The model's classes are "
            f"{', '.join(model.names)}. Rename, merge or ignore classes with a label policy (data.policy)."
        )
    if data.names == model.names and data.fill == model.fill:
        return lambda target: target
    if missing := [name for name in model.names if name not in data.names]:
        log.warning("classes of the model that these data do not have: %s", ", ".join(missing))
    table = torch.tensor([model.names.index(name) for name in data.names])

    def mapped(target: Tensor) -> Tensor:
        known = (target >= 0) & (target < len(table))
        indices = table[torch.where(known, target, 0)]
        return torch.where(known, indices, torch.where(target == data.fill, model.fill, -1))

    return mapped


def _data_config(request: Request) -> DictConfig:
    if request.data is not None:
        data = OmegaConf.merge(OmegaConf.structured(DataConfig), request.data)
        return OmegaConf.create({"data": data, "seed": 0})
    if request.trained is None:
        find_bundle(request.model)  # which says what is there instead
        raise ValueError(
            f"run={request.model}: this is a model without its run, so its data are not known. Choose data, as in "
            "data=folder data.source.root=…"
        )
    return request.trained


def _split_name(split: str, source: DataSource) -> SplitName:
    scored = [name for name in source.splits if name != "train"]
    if split not in scored:
        raise ValueError(f"split={split}: this data set can be scored on {', '.join(scored)}.")
    return cast(SplitName, split)


def _predictor(request: Request, source: DataSource) -> Predictor:
    """The saved model in the precision of its training's scores; of a run that has not finished, its best weights."""
    device = usable_device(request.device)
    trained = request.trained
    if trained is None or (request.model / "model" / DESCRIPTION).is_file():
        bundle = ModelBundle.load(find_bundle(request.model))
    else:
        bundle = _unfinished(request.model, trained, source)
    return Predictor(TorchBackend(bundle.model, bundle.spec, device, bundle.spec.precision), bundle.spec)


def _unfinished(run: Path, trained: DictConfig, source: DataSource) -> ModelBundle:
    """A model from the checkpoints of a run that left no bundle.

    Raises:
        ValueError: the run has no intact checkpoint.
    """
    store = CheckpointStore(run / "checkpoints")
    found = store.newest_valid("best") or store.newest_valid("state")
    if found is None:
        status = manifest.read(run).get("status", "not a run")
        raise ValueError(
            f"run={run}: this run is {status} and left no weights, neither in model/ nor in checkpoints/. "
            f"Go on with it by resume={run}, or train it again."
        )
    log.warning("run=%s has not finished: the weights of %s are scored.", run, found[0].name)
    cfg = without_weights(trained)
    model = build_model(cfg, source.labels.num_classes, source.channels)
    state = torch.load(found[0], map_location="cpu", weights_only=True)["state_dict"]
    prefix = "model."
    model.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    return ModelBundle(spec_of_config(cfg, model, source), model)


def _evaluation(request: Request) -> Any:
    if request.evaluation is not None:
        return request.evaluation
    if request.trained is not None:
        return request.trained.evaluation
    return compose(["run=.", "evaluation=default"], "evaluate").cfg.evaluation


def _write(request: Request, source: DataSource, split: SplitName, labels: LabelSpace, found: Scores) -> Found:
    folder = request.output or (request.model if request.data is None else None)
    if folder is None:
        folder = Path("runs", "evaluations", f"{request.model.name}_{source.split(split).fingerprint()[:8]}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"evaluation_{split}.json"
    write_scores(path, labels, {split: found}, conditions=lambda name: image_conditions(source, name))
    if "reliability" in found.details:
        save_png(path.with_name(f"{path.stem}_reliability.png"), reliability_picture(found.details["reliability"]))
    kept = json.loads(path.read_text(encoding="utf-8"))[split]
    numbers = {name: value for name, value in kept.items() if value is None or isinstance(value, int | float)}
    return Found(numbers, path, read_intervals(kept.get("intervals")))
