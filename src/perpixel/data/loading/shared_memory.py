"""Batches on their way from a worker to the training process, in memory that both see and that is used again.

New shared memory is what a batch would cost most: the kernel finds and clears it page by page, in the worker and once
more where it is read, and takes it all back some milliseconds later. So a worker fills the same few pieces over and
over. The first byte of each says whether it is lent: the worker sets it, and the training process clears it when
nothing there looks at the batch any more.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping
from multiprocessing import active_children
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perpixel.data.loading.timeouts import DataLost

Array = npt.NDArray[Any]

ALIGNED = 64
"""Bytes at a multiple of which every array of a parcel begins; the first of them belong to the piece."""

KEPT = 8
"""Pieces of a worker that are used again, at most. It prefetches two batches, and few hold more than two others; who
does, gets memory that is used once."""

NO_SHARED_MEMORY = (
    "a data worker has no shared memory left to hand its batch over: allow more of it (docker run --shm-size=2g), or "
    "take fewer workers (data.num_workers; 0 needs none) or smaller batches. The training can go on with "
    "resume=<its directory>."
)


class Place(NamedTuple):
    """Where an array of a parcel lies: its name, first byte, dtype and shape."""

    name: str
    start: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def within(self, memory: Array) -> Array:
        """The array, as a view of a piece's bytes."""
        return memory[self.start : self.start + self.size].view(self.dtype).reshape(self.shape)


class Piece:
    """Shared memory, as the process that fills it sees it.

    Args:
        number: that of its place among the worker's pieces; None for one that is used once.
        size: in bytes, the first ``ALIGNED`` included.

    Raises:
        RuntimeError: there is not so much.
    """

    def __init__(self, number: int | None, size: int) -> None:
        self.number = number
        # As torch's default_collate does. It reserves all of it at once: a write will not fail later.
        storage = torch.UntypedStorage._new_shared(size)
        self.whole = torch.empty(0, dtype=torch.uint8).set_(storage)
        self.memory: Array = self.whole.numpy()

    @property
    def lent(self) -> bool:
        return bool(self.memory[0])


class Pieces:
    """The memory that one worker fills again and again: as many pieces as were lent at the same time."""

    def __init__(self) -> None:
        self._kept: list[Piece] = []

    def take(self, size: int) -> tuple[Piece, bool]:
        """A piece of at least so many bytes that nobody looks at, and whether it is a new one."""
        free = [piece for piece in self._kept if not piece.lent]
        if fitting := next((piece for piece in free if piece.memory.size >= size), None):
            return fitting, False
        if free:  # one that is too small makes room
            new = Piece(free[0].number, size)
            self._kept[self._kept.index(free[0])] = new
        elif len(self._kept) < KEPT:
            new = Piece(len(self._kept), size)
            self._kept.append(new)
        else:
            new = Piece(None, size)
        return new, True


_MINE = Pieces()
"""This process's, where it is a worker."""

_THEIRS: dict[tuple[int, int], Tensor] = {}
"""The pieces of workers' that this process has seen, by process and number."""


class SharedBatch:
    """A batch for another process: all arrays in one piece of memory, for which a handle is passed the first time.

    Args:
        arrays: B of (H, W) or (H, W, C), by name.
        names: of the samples.

    Raises:
        DataLost: there is too little shared memory.
    """

    def __init__(self, arrays: Mapping[str, list[Array]], names: list[str]) -> None:
        self.names = names
        self.layout: list[Place] = []
        end = ALIGNED
        for name, given in arrays.items():
            place = Place(name, end, given[0].dtype.str, (len(given), *given[0].shape))
            self.layout.append(place)
            end += math.ceil(place.size / ALIGNED) * ALIGNED
        try:
            self.piece, self.new = _MINE.take(end)
        except RuntimeError as error:
            raise DataLost(f"{NO_SHARED_MEMORY} ({error})") from error
        self.piece.memory[0] = 1
        for place, given in zip(self.layout, arrays.values(), strict=True):
            np.stack(given, out=place.within(self.piece.memory))

    def __reduce__(self) -> tuple[Any, ...]:
        number = self.piece.number
        key = None if number is None else (os.getpid(), number)
        return opened, (key, self.piece.whole if self.new else None, self.layout, self.names)


def opened(key: tuple[int, int] | None, whole: Tensor | None, layout: list[Place], names: list[str]) -> dict[str, Any]:
    """The batch in a parcel: tensors (B, H, W) and (B, C, H, W), channels last in memory, and ``name``.

    Args:
        key: the worker's process and the piece's number there; None for a piece that is used once.
        whole: the piece's bytes; None where they came with an earlier batch.
        layout: where the arrays lie.
        names: of the samples.
    """
    if whole is None:
        assert key is not None
        whole = _THEIRS[key]
    elif key is not None:
        _THEIRS[key] = whole  # in place of one that was too small
    # All tensors made of this array, and what is cut from them, keep it alive; and nothing else does.
    memory = np.frombuffer(whole.numpy().data, np.uint8)
    weakref.finalize(memory, _give_back, whole, os.getpid()).atexit = False
    batch: dict[str, Any] = {"name": names}
    for place in layout:
        batch[place.name] = channels_first(torch.from_numpy(place.within(memory)))
    return batch


def channels_first(whole: Tensor) -> Tensor:
    """(B, H, W) as it is, (B, H, W, C) as (B, C, H, W), which stays in memory as it was: channels last."""
    return whole.permute(0, 3, 1, 2) if whole.dim() == 4 else whole


def _give_back(whole: Tensor, reader: int) -> None:
    if os.getpid() == reader:  # a process forked meanwhile has let go of its own view only
        whole.numpy()[0] = 0


def forget(worker: int) -> None:
    """Let go of the pieces of a worker that has ended; batches that are still looked at stay.

    Args:
        worker: its process; nothing happens where another one has got that number meanwhile.
    """
    if worker in {child.pid for child in active_children()}:
        return
    for key in list(_THEIRS):  # at once: another thread may open batches meanwhile
        if key[0] == worker:
            del _THEIRS[key]
