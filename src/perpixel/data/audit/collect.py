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
    if workers is None:
        workers = (os.cpu_count() or 1) if len(places) > _FEW else 0
    show = partial(track, description="looking at samples", total=len(places), disable=not progress)
    if workers == 0:
        yield from show(_look(source, place) for place in places)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # libraries are loaded once, and shared
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(source,)) as pool:
        yield from show(pool.map(_look_at_mine, places, chunksize=_CHUNK))


def _look(source: DataSource, place: tuple[str, int]) -> SampleFacts | Fault:
    name, index = place
    return look_at(source.split(name), name, index, source.labels.num_classes)  # type: ignore[arg-type]


_mine: list[DataSource] = []
"""In a worker: the source, sent once and not with every chunk of places."""


def _begin(source: DataSource) -> None:
    """OpenCV's own threads would compete with the other processes."""
    cv2.setNumThreads(1)
    _mine.append(source)


def _look_at_mine(place: tuple[str, int]) -> SampleFacts | Fault:
    return _look(_mine[0], place)
