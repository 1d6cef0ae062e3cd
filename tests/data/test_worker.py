from __future__ import annotations

import platform
import resource
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from perpixel.data.loading.worker import prepare_worker

MEGABYTE = 1 << 20


def _faults() -> int:
    """Pages that the kernel must find for ten batches of eight crops, each let go before the next."""
    for batch in range(12):
        if batch == 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        crops = [np.ones(MEGABYTE, np.uint8) for _ in range(8)]
        del crops
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _before_and_after(answer: Any) -> None:
    before = _faults()
    prepare_worker(0)
    answer.put((before, _faults()))


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_a_worker_uses_the_memory_of_one_batch_for_the_next() -> None:
    context = get_context("spawn")  # a heap that nobody has grown
    answer = context.SimpleQueue()
    process = context.Process(target=_before_and_after, args=(answer,))
    process.start()
    before, after = answer.get()
    process.join()
    pages = 10 * 8 * MEGABYTE // 4096
    assert before > pages / 2, "there would be nothing to save"
    assert after < pages / 20
