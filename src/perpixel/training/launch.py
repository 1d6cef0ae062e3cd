"""Several ranks for one job, started from the job's saved config.

Lightning starts its ranks by repeating the command line, which inside a multirun is the whole sweep again
(lightning #11300, #15545). Here the job's process runs torch's elastic agent, and each rank reads the composed config
from the run directory: the sweep's arguments never reach it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from perpixel.config.errors import UserFacingError
from perpixel.training.callbacks.pruning import Pruned
from perpixel.training.signals import EXIT_CODES, Interrupted, handle_signals

SHUTDOWN_TIMEOUT_S = 25  # for checkpoints after SIGTERM
ASLEEP_S = 8.0  # who has not taken a signal for so long is stopped, or stuck in the kernel
PARENT = "PERPIXEL_LAUNCHER"  # environment variable: the launcher's process id
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class RankFailed(UserFacingError):
    """A rank died; the message tells which and of what."""


def num_ranks(accelerator: str, devices: object) -> int:
    """How many ranks this machine runs for ``trainer.accelerator`` and ``trainer.devices``.

    Raises:
        ValueError: more GPUs are asked for than there are, or others.
    """
    gpus = 0 if accelerator == "cpu" else torch.cuda.device_count()
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        if accelerator != "mps" and not torch.backends.mps.is_available() and (not gpus or max(devices) >= gpus):
            raise ValueError(
                f"trainer.devices={list(devices)}: a list holds the indices of GPUs, of which "
                f"{f'this machine has {gpus}' if gpus else 'none are used'}. Give a number of devices."
            )
        return len(devices)
    if devices in ("auto", -1, "-1"):
        return max(gpus, 1)
    count = int(str(devices))
    if gpus and count > gpus:
        raise ValueError(f"trainer.devices={count}: this machine has {gpus} GPUs.")
    return count


def started_by_launcher() -> bool:
    """Whether this process is already a rank (of ours, of torchrun, or of srun)."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def patient_strategy(name: str, timeout_s: float | None) -> str | DDPStrategy:
    """``trainer.strategy`` with a limit to how long ranks wait for each other (gloo's own is half an hour)."""
    if timeout_s is None or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return name
    return DDPStrategy(timeout=timedelta(seconds=timeout_s), find_unused_parameters=name.endswith("_true"))


def launch_ranks(module: str, arguments: Sequence[str], ranks: int) -> None:
    """Run ``python -m module arguments`` in ``ranks`` processes and wait for them.

    When one dies the others are ended within seconds. SIGTERM and SIGINT are passed on; the ranks have
    SHUTDOWN_TIMEOUT_S to write their checkpoint.

    Raises:
        RankFailed: a rank ended with an error.
        Interrupted: this process was told to stop.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=f"perpixel-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        local_addr="localhost",
        signals_to_handle=",".join(signal.Signals(signum).name for signum in EXIT_CODES),
    )
    with handle_signals(), _rank_environment(), _sleepers_killed() as killed:  # torch leaves its own handlers behind
        try:
            elastic_launch(config, sys.executable)("-m", module, *arguments)
        except SignalException as stop:
            raise Interrupted(stop.sigval) from None
        except ChildFailedError as error:
            raise _as_failure(error, bool(killed)) from None


def _as_failure(error: ChildFailedError, slept: bool) -> BaseException:
    rank, failure = _cause(error)
    if failure.exitcode in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        return Interrupted(failure.exitcode - 128)
    told = str(failure.message)
    if "Pruned: " in told:  # all ranks left together
        return Pruned("pruned by the search")
    if slept or any("timed out" in str(one.message).lower() for one in error.failures.values()):
        return RankFailed(
            f"a rank waited for the others longer than training.timeout_s, so rank {rank} or one beside it hung or was "
            "stopped; all are ended. Go on with resume=<run directory>."
        )
    message = failure.message if isinstance(failure.message, str) else failure.message.get("message", "no message")
    return RankFailed(f"rank {rank} died with exit code {failure.exitcode}: {message}")


def _cause(error: ChildFailedError) -> tuple[int, ProcessFailure]:
    """The rank that died first. One killed by a signal writes no time of death, and its peers then fail after it."""
    for rank, failure in error.failures.items():
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:  # SIGTERM is how the agent ends the others
            return rank, failure
    return error.get_first_failure()


@contextmanager
def _sleepers_killed() -> Iterator[set[int]]:
    """Kill ranks that sleep while they are asked to end: torch's agent would wait half a minute for them.

    Yields the process ids of those that were killed, as they are.
    """
    done, killed = threading.Event(), set[int]()
    watcher = threading.Thread(target=_kill_sleepers, args=(done, killed), name="sleepers", daemon=True)
    watcher.start()
    try:
        yield killed
    finally:
        done.set()
        watcher.join()


def _kill_sleepers(done: threading.Event, killed: set[int]) -> None:
    since: dict[int, float] = {}
    while not done.wait(0.5):
        now = time.monotonic()
        since = {pid: since.get(pid, now) for pid in _children() if _has_untaken_sigterm(pid)}
        for pid, first in since.items():
            if now - first > ASLEEP_S:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)


def _children() -> list[int]:
    """Process ids; none where the system has no /proc."""
    lists = Path("/proc/self/task").glob("*/children")
    return [int(pid) for path in lists for pid in path.read_text().split()]


def _has_untaken_sigterm(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return False
    (pending,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(pending & 1 << (signal.SIGTERM - 1))


@contextmanager
def _rank_environment() -> Iterator[None]:
    """Let the ranks import perpixel from a checkout that is not installed, and share the cores between them."""
    source = str(Path(__file__).resolve().parents[2])
    changed = {
        PARENT: str(os.getpid()),
        "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_TIMEOUT_S)),
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in changed:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def prepare_rank() -> None:
    """In a rank, first thing: die with the parent, and take a fair share of the cores."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT) != str(os.getppid()):  # it died before it could be asked for
        sys.exit("the process that started this rank is gone")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
