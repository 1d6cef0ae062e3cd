"""What about a training's data and length will disappoint, each with its number; said once, before the first step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from perpixel.data.base import DataSource, SplitName
from perpixel.data.checks.leaks import find_leaks, prints_of
from perpixel.data.files.class_pixels import Counts, class_pixels_of_pairs
from perpixel.data.files.file_cache import remembered
from perpixel.data.files.source import FileSplit
from perpixel.data.hashing import digest
from perpixel.setup import sizes
from perpixel.setup.settle import shapes_of

SHOWN = 3
MOST_COMPARED = 600
"""Images beyond which near-duplicates are left to the audit: every one has to be decoded."""

_MUCH = 0.1


def concerns(source: DataSource, cfg: Any, samples: int, world: int = 1) -> list[str]:
    """All of them, in words.

    Args:
        source: the data.
        cfg: a train config, settled.
        samples: of the training split that are used.
        world: ranks.
    """
    files = {name: split for name in source.splits if isinstance(split := source.split(name), FileSplit)}
    if not files or cfg.data.overfit is not None:
        return []
    return [*_of_length(cfg, samples, world), *_of_crop(cfg, source), *_of_classes(source, files), *_of_copies(source)]


def _of_length(cfg: Any, samples: int, world: int) -> Iterator[str]:
    data, trainer = cfg.data, cfg.trainer
    together, seen = data.batch_size * world, samples * (data.repeat or 1)
    steps = sizes.steps_of(seen, min(together, max(seen, 1)), 1)
    total = steps * trainer.max_epochs if trainer.max_epochs > 0 else trainer.max_steps
    total = min(total, trainer.max_steps) if trainer.max_steps > 0 else total
    if 0 < total < sizes.LEAST_STEPS:
        yield (
            f"this training has {total} steps (of {together} images), and a network is not done before some "
            f"{sizes.LEAST_STEPS}: leave trainer.max_epochs and data.repeat to be chosen, or raise trainer.max_epochs "
            f"to {sizes.epochs(steps, sizes.USUAL_STEPS)}."
        )
    dropped = seen % together
    if seen > together and dropped > _MUCH * seen:
        yield (
            f"{dropped} of {seen} images are left out of each epoch, others each time, because they fill no batch of "
            f"{together}: data.batch_size={_divisor(seen, together)} would take in all."
        )


def _divisor(seen: int, together: int) -> int:
    """The batch near the given one that leaves least."""
    near = range(max(2, together // 2), together + together // 2 + 1)
    return min(near, key=lambda size: (seen % size, abs(size - together)))


def _of_crop(cfg: Any, source: DataSource) -> Iterator[str]:
    height, width = cfg.data.size
    shapes = shapes_of(source)
    total = sum(shapes.values())
    smaller = sum(number for shape, number in shapes.items() if shape[0] < height or shape[1] < width)
    inside = sum(min(h, height) * min(w, width) * number for (h, w), number in shapes.items())
    padded = 1 - inside / max(total * height * width, 1)
    fitting = list(sizes.crop_size(shapes, gpu=True)[0]) if total else []
    if total and padded > _MUCH and fitting != [height, width]:
        yield (
            f"{smaller} of {total} training images are smaller than data.size=[{height},{width}], and {padded:.0%} of "
            f"all that is computed is padding: data.size={fitting} fits."
        )


def _of_classes(source: DataSource, files: Mapping[SplitName, FileSplit]) -> Iterator[str]:
    counts = {name: class_pixels_of_pairs(split.pairs, split.read_mask) for name, split in files.items()}
    for index, name in enumerate(source.labels.names):
        without = [split for split, found in counts.items() if not found[:, index].any()]
        if without:
            yield f"class '{name}' does not occur in {' and '.join(without)}{_what_it_costs(without)}."
    for split, found in counts.items():
        yield from _of_masks(source.labels.names, split, found, files[split])


def _what_it_costs(without: Sequence[str]) -> str:
    if "train" in without:
        return ", so it cannot be learned"
    return ", where its score says nothing: data.source.stratify=true divides by class content"


def _of_masks(names: Sequence[str], split: str, counts: Counts, files: FileSplit) -> Iterator[str]:
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    shown = (counts > 0).sum(axis=1) == 1
    most = int(counts.sum(axis=0).argmax())
    alone = np.flatnonzero(shown & (counts[:, most] > 0))
    if len(empty):
        yield f"{len(empty)} of {len(counts)} masks of {split} have no label, as {_first(files, empty.tolist())}."
    if len(alone) > _MUCH * len(counts):
        told = f"{len(alone)} of {len(counts)} masks of {split} are '{names[most]}' from edge to edge"
        yield f"{told}, as {_first(files, alone.tolist())}: are their objects drawn?"


def _first(files: FileSplit, places: Sequence[Any]) -> str:
    return ", ".join(repr(files.pairs[int(place)].name) for place in places[:SHOWN])


def _of_copies(source: DataSource) -> Iterator[str]:
    """Equal files and pixels are told of elsewhere; here what only looks the same."""
    splits = [split for name in source.splits if isinstance(split := source.split(name), FileSplit)]
    if sum(map(len, splits)) > MOST_COMPARED:
        return
    key = digest(*(f"{split.pairs.stamp()} {split.channels}" for split in splits))

    def found() -> str:
        try:
            return json.dumps([leak for leak in find_leaks(source, list(prints_of(source))) if leak.kind == "near"])
        except (ValueError, OSError):  # faulty files are named before training
            return "[]"

    near = json.loads(remembered("near", key, found))
    if near:
        _, first, second, _ = near[0]
        yield (
            f"{len(near)} images look like one of another split, as '{second[1]}' of {second[0]} like '{first[1]}' of "
            f"{first[0]}: scores will be too good. Keep them together with data.source.group_by (the audit shows them)."
        )
