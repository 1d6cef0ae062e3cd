"""Chunks over threads: each thread works whole chunks alone, instead of all threads sharing every small operation.

PyTorch divides each operation over its threads and waits for the slowest after each one. With data-loading workers on
the same cores that wait can cost more than a short operation itself; here threads meet once, at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Scratch = TypeVar("Scratch")


def for_each(
    function: Callable[[Item, Scratch], object],
    items: Sequence[Item],
    device: torch.device,
    scratch: Callable[[], Scratch],
) -> None:
    """Call ``function`` on every item, on as many threads as PyTorch may use, without recording gradients.

    Each thread calls ``scratch`` once and hands the result to all its calls: memory that is not touched for the first
    time again and again, which costs as much as the arithmetic.

    Items are taken in order but end in any order, so each must write to a place of its own: the result is then the same
    for every number of threads. On a GPU, or with one thread, it is a plain loop.

    Raises:
        Exception: the first one that ``function`` raised.
    """
    threads = min(torch.get_num_threads(), len(items)) if device.type == "cpu" else 1
    queue = iter(items)  # shared: each thread takes the next item when it has time
    inference = torch.is_inference_mode_enabled()  # a thread's own setting, which the workers have to be told

    def work() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            own = scratch()
            for item in queue:
                function(item, own)

    if threads <= 1:
        work()
        return
    for thread in [_pool(torch.get_num_threads()).submit(work) for _ in range(threads)]:
        thread.result()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="perpixel")
    together = Barrier(threads)  # each start-up task waits for all, so that each takes a thread of its own
    for started in [pool.submit(_work_alone, together) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(threads)  # the workers' setting is theirs, but the default for threads to come is not
    return pool


def _work_alone(together: Barrier) -> None:
    torch.get_num_threads()  # a thread takes PyTorch's default at its first question: before ours, not after
    torch.set_num_threads(1)
    together.wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
