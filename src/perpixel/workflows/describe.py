"""What a training leaves about its model, for whoever loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from perpixel.config import complete
from perpixel.data import DataSource
from perpixel.models import SegmentationModel
from perpixel.spec import NODES, ModelSpec, Normalise
from perpixel.tracking import manifest
from perpixel.training import Scores
from perpixel.workflows.assembly import PLACES, image_dtype

FACTS = ("name", "started", "command", "seed", "versions", "git", "data", "hardware")
"""Of a run's manifest, what a model keeps."""


def model_spec(
    cfg: DictConfig, model: SegmentationModel, source: DataSource, run: Path, scores: Mapping[str, Scores]
) -> ModelSpec:
    """The spec of a trained network, with where it comes from.

    Args:
        cfg: the settled train config.
        model: the network that was built from it.
        source: what it was trained on.
        run: the run directory, whose manifest says where the model comes from.
        scores: of the saved weights, by split.
    """
    known = manifest.read(run)
    return spec_of_config(cfg, model, source).with_provenance(
        **{fact: known[fact] for fact in FACTS if fact in known},
        pretrained_encoder=OmegaConf.select(cfg, "encoder.weights"),
        init_from=cfg.init_from,
        loss=OmegaConf.to_container(cfg.loss, resolve=True),
        scores={split: _finite(found.values) for split, found in scores.items()},
    )


def spec_of_config(cfg: DictConfig, model: SegmentationModel, source: DataSource) -> ModelSpec:
    """The spec of the network that a settled train config describes."""
    nodes = {name: complete(cfg[name], PLACES[name].base, name, PLACES[name].given) for name in NODES}
    if "weights" in nodes["encoder"]:  # a bundle holds the trained ones
        nodes["encoder"] |= {"weights": "none", "sha256": None}
    return ModelSpec(
        nodes=nodes,
        labels=source.labels,
        normalise=Normalise(tuple(cfg.data.mean), tuple(cfg.data.std)),
        in_channels=source.channels,
        image_dtype=image_dtype(source),
        stride=model.stride,
        train_size=(int(cfg.data.size[0]), int(cfg.data.size[1])),
        precision=cfg.trainer.precision or "32-true",
        channels_last=cfg.training.channels_last,
        original_ids=source.original_ids,
    )


def _finite(values: Mapping[str, float]) -> dict[str, Any]:
    return {name: value if value == value else None for name, value in values.items()}
