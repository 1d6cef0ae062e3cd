"""Looking at every sample of a source, on all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import cv2
from rich.progress import track

from perpixel.data.audit.sample import Fault, SampleFacts, look_at
from perpixel.data.base import DataSource

_CHUNK = 16
_FEW = 400
"""Up to so many samples, starting processes costs more than it gives."""


def collect(source: DataSource, workers: int | None = None, progress: bool = True) -> Iterator[SampleFacts | Fault]:
    """Facts or faults of every sample, split by split.

    Args:
        source: what is looked at.
        workers: processes; None uses every core where there is much to do, 0 this process.
        progress: whether to show a bar.
    """
    places = [(name, index) for name in source.splits for index in range(len(source.split(name)))]
    look = partial(_look, source)
    if workers is None:
        workers = (os.cpu_count() or 1) if len(places) > _FEW else 0
    show = partial(track, description="looking at samples", total=len(places), disable=not progress)
    if workers == 0:
        yield from show(map(look, places))
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_alone) as pool:
        yield from show(pool.map(look, places, chunksize=_CHUNK))


def _look(source: DataSource, place: tuple[str, int]) -> SampleFacts | Fault:
    name, index = place
    return look_at(source.split(name), name, index, source.labels.num_classes)  # type: ignore[arg-type]


def _alone() -> None:
    """OpenCV's own threads would compete with the other processes."""
    cv2.setNumThreads(1)
