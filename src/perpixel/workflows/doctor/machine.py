"""Cores, memory, shared memory and graphics cards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage, which

from perpixel.workflows.doctor.finding import Finding, Level

SHARED = Path("/dev/shm")
LEAST_SHARED = 1 << 30
"""Bytes: two workers hold some ten batches, and 8 float images of 3×512² are 25 MB."""


def cores() -> Finding:
    """Cores that this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(Level.OK, "cores", str(count))


def shared_memory(size: int | None) -> Finding | None:
    """What data workers hand their batches over in.

    Args:
        size: bytes of /dev/shm; None where there is none.
    """
    if size is None:
        return None
    if size < LEAST_SHARED:
        return Finding(
            Level.WARNING,
            "shared memory",
            f"{_size(size)}: data workers may run out of it",
            "docker run --shm-size=2g, or data.num_workers=0",
        )
    return Finding(Level.OK, "shared memory", _size(size))


def shared_size() -> int | None:
    """Bytes of /dev/shm; None where there is none."""
    return disk_usage(SHARED).total if SHARED.is_dir() else None


def has_nvidia() -> bool:
    """Whether an NVIDIA card, or its driver, is there; torch is not asked."""
    return Path("/dev/nvidiactl").exists() or which("nvidia-smi") is not None


ASK = (
    "import torch; print(torch.cuda.is_available(), torch.version.cuda, torch.cuda.device_count(),"
    " torch.cuda.get_device_name(0) if torch.cuda.is_available() else '', sep='|')"
)


def graphics(nvidia: bool, deep: bool) -> Iterator[Finding]:
    """Whether torch can use the cards; it is asked in a process of its own, and only where a card or ``deep`` is."""
    if not nvidia and not deep:
        yield Finding(Level.NOTE, "GPU", "no NVIDIA card here: trainings run on the CPU (deep=true asks torch)")
        return
    code, said = run_python(ASK)
    if code:
        yield Finding(
            Level.FAULT, "torch", f"cannot be imported: {said}", "pip install --force-reinstall torch torchvision"
        )
        return
    available, cuda, count, name = said.split("|")
    if available == "True":
        yield Finding(Level.OK, "GPU", f"{count} × {name}, CUDA {cuda}")
    elif nvidia:
        told = "torch is built for the CPU alone" if cuda == "None" else f"torch's CUDA {cuda} does not work with it"
        fix = "install torch for your CUDA: https://pytorch.org/get-started" if cuda == "None" else "update the driver"
        yield Finding(Level.FAULT, "GPU", f"a card is here, but {told}", fix)
    else:
        yield Finding(Level.NOTE, "GPU", "torch finds none: trainings run on the CPU")


def imports(modules: dict[str, str]) -> Iterator[Finding]:
    """Import modules, each in a process of its own.

    Args:
        modules: what to import → how to install it.
    """
    for module, fix in modules.items():
        code, said = run_python(f"import {module}")
        if code:
            yield Finding(Level.FAULT, module, f"is installed and cannot be imported: {said}", fix)
        else:
            yield Finding(Level.OK, module, "can be imported")


def run_python(code: str, timeout_s: float = 120.0) -> tuple[int, str]:
    """Exit code, and the last line of what was said."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {timeout_s:.0f} s"
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return done.returncode, lines[-1] if lines else f"exit code {done.returncode}"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
