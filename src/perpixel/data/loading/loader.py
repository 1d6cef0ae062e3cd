"""The loader of all data: its workers may take only so long, and the memory that they share ends with them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader

from perpixel.data.loading.shared_memory import forget
from perpixel.data.loading.timeouts import BACKSTOP_S, SILENT, at_most
from perpixel.workers import mark

T = TypeVar("T", covariant=True)


class TimeoutLoader(DataLoader[T]):
    """A loader whose workers may take only so long.

    torch's own ``timeout`` ends the waiting for a batch to be announced, but not for its memory to be handed over: a
    worker that stops in between would be waited for without end.
    """

    def _get_iterator(self) -> Any:
        iterator = super()._get_iterator()  # called once for workers that persist
        workers = getattr(iterator, "_workers", ())
        mark(workers)
        for worker in workers:
            weakref.finalize(worker, forget, worker.pid).atexit = False
        return iterator

    def __iter__(self) -> Any:
        iterator = super().__iter__()
        return _TimeoutIterator(iterator, self.timeout + BACKSTOP_S) if self.timeout else iterator


class _TimeoutIterator(Generic[T]):
    def __init__(self, iterator: Iterator[T], timeout_s: float) -> None:
        self.iterator = iterator
        self.timeout_s = timeout_s

    def __iter__(self) -> _TimeoutIterator[T]:
        return self

    def __next__(self) -> T:
        with at_most(self.timeout_s, lambda: f"no batch has come from the DataLoader's workers {SILENT}"):
            return next(self.iterator)

    def __len__(self) -> int:
        return len(self.iterator)  # type: ignore[arg-type]
