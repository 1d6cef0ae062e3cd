"""What a loader's worker process does before it reads."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
from contextlib import suppress
from typing import Any

import cv2

STAYS_S = 20.0
"""Behind SIGTERM; longer than most steps, shorter than a cluster's patience."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As glibc's malloc.h numbers them."""

FROM_THE_HEAP = 32 << 20
"""Bytes of the largest arrays that come from the heap; glibc allows no more."""

KEPT_FREE = 128 << 20
"""Bytes that a worker keeps at most, freed by one sample for the next."""


def prepare_worker(worker: int) -> None:
    """Make a worker modest: it computes in one thread, keeps no copies, and outlives a signal until it is not needed.

    OpenCV's own threads would compete with the other workers; and a search for garbage among what was there before
    the fork would write to it, and so copy a hundred megabytes into each worker.

    Signals to stop go to all processes of a job, and the training needs its workers until its next step boundary: they
    end with it. One that was told to end stays for a while only, should nobody come for it.

    Args:
        worker: its number, as ``DataLoader`` gives it.
    """
    cv2.setNumThreads(0)
    gc.freeze()
    _keep_freed_memory()
    for signum in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _keep_freed_memory() -> None:
    """Let one sample use the memory of the one before it.

    glibc gives large blocks back to the system as soon as they are free, and to get them anew, page by page, takes a
    quarter of the time of a crop that needs no decoding. Other C libraries have no such setting, and are left alone.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, FROM_THE_HEAP)
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE)


def _end_later(signum: int, _: Any) -> None:
    signal.signal(signum, signal.SIG_IGN)
    timer = threading.Timer(STAYS_S, os._exit, (128 + signum,))
    timer.daemon = True
    timer.start()
