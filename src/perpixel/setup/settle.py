"""What a config leaves open, settled from the data: crop, batch, how often an epoch shows an image, how many epochs.

The settled values stand in the run's ``config.yaml``; whatever the user has set stays.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from perpixel.data.base import DataSource
from perpixel.data.files.source import FileSource, FileSplit
from perpixel.data.files.statistics import evenly
from perpixel.setup import sizes

HEADERS = 500
"""Training images whose sizes are looked at, at most; evenly spaced."""

_OPEN_SIZE, _OPEN_BATCH = (256, 256), 8
"""For sources that neither say nor have files that would."""


def shapes_of(source: DataSource) -> Counter[tuple[int, int]]:
    """(H, W) of training images from their headers, with their numbers; empty where nothing tells."""
    split = source.split("train")
    found: Counter[tuple[int, int]] = Counter()
    for index in evenly(range(len(split)), HEADERS):
        try:
            shape = split.shape(index)
        except (ValueError, OSError):  # named with all other faulty files before training
            continue
        found.update([shape] if shape else [])
    return found


def settle_batches(cfg: Any, source: DataSource, gpu: bool) -> list[str]:
    """Write crop and batch into ``cfg.data``; returns what was settled, in words."""
    data, told = cfg.data, []
    shapes = shapes_of(source) if data.size is None or data.batch_size is None else Counter[tuple[int, int]]()
    if data.size is None:
        data.size, why = sizes.crop_size(shapes, gpu) if shapes else (_OPEN_SIZE, "")
        told.append(f"size {data.size[0]}×{data.size[1]}{f' ({why})' if why else ''}")
    if data.batch_size is None:
        data.batch_size = sizes.batch_size(tuple(data.size), gpu) if shapes else _OPEN_BATCH
        told.append(f"batch {data.batch_size}")
    if isinstance(source, FileSource) and "channels" in data.source and data.source.channels is None:
        data.source.channels = source.channels
        told.append(f"{source.channels} channel{'s' if source.channels > 1 else ''}")
    return told


def settle_length(cfg: Any, source: DataSource, samples: int, world: int = 1) -> list[str]:
    """Write ``data.repeat`` and ``trainer.max_epochs`` into ``cfg``; returns what was settled, in words.

    Where epochs or steps are given, an epoch is a plain pass.

    Args:
        cfg: with size and batch settled.
        source: its data.
        samples: of the training split that are used.
        world: ranks.
    """
    data, trainer = cfg.data, cfg.trainer
    of_files = isinstance(source.split("train"), FileSplit)
    given = trainer.max_epochs is not None or trainer.max_steps != -1 or data.overfit is not None or not of_files
    together = data.batch_size * world
    if data.repeat is None:
        data.repeat = 1 if given else sizes.repeats(samples, together)
    if trainer.max_epochs is not None:
        return []
    if trainer.max_steps != -1:
        trainer.max_epochs = -1
        return []
    steps = sizes.steps_of(samples, together, data.repeat)
    usual = sizes.USUAL_EPOCHS if data.repeat == 1 or not of_files else 1
    trainer.max_epochs = max(usual, sizes.epochs(steps)) if of_files else sizes.USUAL_EPOCHS
    shown = f", each shows every image {data.repeat} times" if data.repeat > 1 else ""
    return [f"{steps * trainer.max_epochs:,} steps ({trainer.max_epochs} epochs of {steps}{shown})"] if of_files else []
