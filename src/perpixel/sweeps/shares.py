"""What each of several jobs on one machine gets of it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_ON_CPUS = 4
"""So many at once where nobody says: each needs memory of its own."""


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time.

    Attributes:
        gpus: names of its GPUs, as ``CUDA_VISIBLE_DEVICES`` has them.
        threads: how many the job's processes may use, together.
        ranks: the job's processes.
    """

    gpus: tuple[str, ...]
    threads: int
    ranks: int = 1

    def environment(self) -> dict[str, str]:
        """Variables of the job; a number of threads that the user set stays."""
        found = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, self.threads // self.ranks)))}
        return found | ({"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {})


def share_out(n_jobs: int | None, jobs: int, ranks: int, gpus: Sequence[str], cores: int) -> list[Slot]:
    """Divide a machine.

    Args:
        n_jobs: jobs at a time; None for one a GPU (or ``ranks`` GPUs), on CPUs one a core up to ``MOST_ON_CPUS``.
        jobs: how many there are at all.
        ranks: processes, and so GPUs, of one job.
        gpus: those that may be used; none for jobs on CPUs.
        cores: of the CPU.

    Raises:
        ValueError: not even one job fits, or ``n_jobs`` do not.
    """
    if gpus and len(gpus) < ranks:
        raise ValueError(f"trainer.devices={ranks}: there are {len(gpus)} GPUs for hydra/launcher=local.")
    fitting = len(gpus) // ranks if gpus else max(1, min(cores // ranks, MOST_ON_CPUS))
    count = min(n_jobs or fitting, jobs)
    if gpus and count > fitting:
        raise ValueError(
            f"hydra.launcher.n_jobs={n_jobs}: with {ranks} of {len(gpus)} GPUs each, {fitting} jobs fit at a time."
        )
    threads = max(1, cores // count)
    return [Slot(tuple(gpus[slot * ranks : (slot + 1) * ranks]), threads, ranks) for slot in range(count)]


def ranks_of(devices: Any) -> int:
    """How many processes a job of the local launcher has; ``auto`` is one.

    Raises:
        ValueError: devices are named one by one.
    """
    if devices in ("auto", "-1", -1):
        return 1
    try:
        return int(str(devices))
    except ValueError:
        raise ValueError(
            f"trainer.devices={devices}: hydra/launcher=local chooses the devices of a job; give how many."
        ) from None


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use.

    Counted in a process of its own: one that has asked the driver can no longer fork jobs that use a GPU.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
    counting = multiprocessing.get_context("fork").Process(target=_count, args=(theirs,))
    counting.start()
    theirs.close()
    try:
        return [str(index) for index in range(ours.recv())]
    except EOFError:
        return []
    finally:
        counting.join()


def _count(told: Any) -> None:
    import torch

    told.send(torch.cuda.device_count())
