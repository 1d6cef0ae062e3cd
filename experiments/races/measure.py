"""Time, memory and bandwidth, on a CPU or a GPU."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from contests import RACES, Race, batch
from peers import Work
from torch import Tensor

SHORT = 0.25
"""Seconds that a sample takes at least: shorter work is repeated, so that one interruption is not the result."""
TURNS = 10
"""In which that time is taken: a moment's disturbance then meets all contestants."""
PROC = Path("/proc/self")
KINDS = {"blobs": True, "random": False}


def seconds(work: Work, prediction: Tensor, target: Tensor, times: int = 1) -> float:
    """Seconds of one call, the mean of ``times`` in a row; on a GPU by its own clock."""
    if prediction.device.type == "cuda":
        return _cuda_seconds(work, prediction, target, times)
    start = time.perf_counter()
    for _ in range(times):
        work(prediction, target)
    return (time.perf_counter() - start) / times


def _cuda_seconds(work: Work, prediction: Tensor, target: Tensor, times: int) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(times):
        work(prediction, target)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / times


def sample(works: dict[str, Work], prediction: Tensor, target: Tensor) -> dict[str, float]:
    """Seconds of one call of each work; where one is short, of as many as fill `SHORT`, in turns of a few each."""
    once = {name: seconds(work, prediction, target) for name, work in works.items()}
    calls = {name: math.ceil(SHORT / max(time, 1e-6)) for name, time in once.items() if time < SHORT}
    spent = dict.fromkeys(calls, 0.0)
    for turn in range(TURNS):
        for name, number in calls.items():
            if times := number * (turn + 1) // TURNS - number * turn // TURNS:
                spent[name] += times * seconds(works[name], prediction, target, times)
    return once | {name: spent[name] / number for name, number in calls.items()}


def run(race: Race, blobs: bool, pairs: int, device: torch.device) -> Iterator[dict[str, float]]:
    """Rounds: seconds of each contestant by name, one after the other, ours first."""
    prediction, target = batch(race, blobs, device)
    works = {name: make(race.shape[1], device) for name, make in race.contestants.items()}
    for name, work in works.items():
        work(prediction[:1, ..., :64, :64], target[:1, :64, :64])
        if name == "ours" or not race.slow:
            work(prediction, target)
    for _ in range(pairs):
        yield sample(works, prediction, target)


def bandwidth(device: torch.device) -> float:
    """Bytes per second of a copy between arrays too large for the caches, the best of five."""
    source = torch.ones(2**26, device=device)
    goal = torch.empty_like(source).copy_(source)
    fastest = min(seconds(lambda a, b: b.copy_(a), source, goal) for _ in range(5))
    return 2 * source.numel() * source.itemsize / fastest


Peaks = dict[str, dict[str, float]]
"""Bytes above what is given at the peak, by kind of masks and contestant."""


def peaks(index: int, device: torch.device) -> Peaks:
    """The peaks of a race; on a CPU in a process of its own, whose freed memory goes back to the system at once."""
    if device.type == "cuda":
        return own_peaks(index, device)
    command = [sys.executable, str(Path(__file__).with_name("races.py")), "--peaks", str(index)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    found: Peaks = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    )
    return found


def own_peaks(index: int, device: torch.device) -> Peaks:
    """The peaks of a race in this process."""
    race, found = RACES[index], Peaks()
    for kind, blobs in KINDS.items():
        prediction, target = batch(race, blobs, device)
        found[kind] = {}
        for name, make in ({"ours": race.ours} if race.slow and not blobs else race.contestants).items():
            work = make(race.shape[1], device)
            work(prediction[:1, ..., :64, :64], target[:1, :64, :64])
            found[kind][name] = (
                _cuda_peak(work, prediction, target) if device.type == "cuda" else _peak(work, prediction, target)
            )
    return found


def _peak(work: Work, prediction: Tensor, target: Tensor) -> float:
    """Of the process, from the kernel's high-water mark; NaN where there is none (not Linux)."""
    if not (PROC / "clear_refs").exists():
        return math.nan
    resident = int((PROC / "statm").read_text().split()[1]) * resource.getpagesize()
    (PROC / "clear_refs").write_text("5")  # the mark starts anew from what is resident
    work(prediction, target)
    return int((PROC / "status").read_text().split("VmHWM:")[1].split()[0]) * 1024 - resident


def _cuda_peak(work: Work, prediction: Tensor, target: Tensor) -> float:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work(prediction, target)
    return torch.cuda.max_memory_allocated() - before


@contextmanager
def no_waiting() -> Iterator[None]:
    """Any operation that makes the host wait for the GPU raises a RuntimeError."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
