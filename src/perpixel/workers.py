"""The name by which processes that read data are known: training ends them where it must, and knows no loader."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

DATA_WORKER = "perpixel-data-worker"


def mark(workers: Iterable[BaseProcess]) -> None:
    """Name processes as data workers."""
    for number, worker in enumerate(workers):
        worker.name = f"{DATA_WORKER}-{number}"


def marked() -> list[BaseProcess]:
    """The data workers of this process that live."""
    return [child for child in multiprocessing.active_children() if child.name.startswith(DATA_WORKER)]
