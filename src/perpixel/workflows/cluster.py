"""Jobs that a cluster stops and starts again: the same directory, and exactly one that asks for another turn.

Slurm ends a job in two ways. Preempting or requeueing it, it sends SIGTERM and starts it again by itself. Nearing its
time limit, it sends SIGUSR1 (submitit asks for it) and will not start it again: then the job does so. The first signal
in either case is noted by ``StopOnSignal``, which leaves at the next step with the state written.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)

JOB = "SLURM_JOB_ID"


def inherit() -> None:
    """Before jobs are submitted: they find perpixel where this process did, and get SIGUSR1 before their time limit.

    submitit's own answer to that signal, until training begins, is to requeue at once.
    """
    os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")
    source = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))


def _job() -> str | None:
    """What scontrol calls this job: a task of an array by its array, whose own number stands for all of its tasks."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get(JOB)


def requeue(signum: int) -> None:
    """Ask Slurm for another turn, if it was the time limit that ended this one."""
    job = _job()
    if job is None or signum != signal.SIGUSR1:
        return
    log.info("the time limit is near: job %s requeues itself and will go on", job)
    subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)
