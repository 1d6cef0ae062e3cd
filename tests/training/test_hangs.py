"""Workers and ranks that are killed, raise, hang or sleep: noticed in time, told plainly, left in a state to resume."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.commands import ROOT, Shell, environment
from tests.training.test_data_parallel import DDP, LONG, alive, goes_on, ranks_of, wait_for
from torch.utils.data import DataLoader

from perpixel import workers
from perpixel.data.loading.loader import TimeoutLoader
from perpixel.data.loading.shared_memory import SharedBatch
from perpixel.data.loading.timeouts import DataLost, at_most, explained, reading
from perpixel.training import handle_signals
from perpixel.training.callbacks import Watchdog, watchdog
from perpixel.training.signals import handled

RUN = ["hydra.run.dir=run", "training.checkpoint.every_n_steps=2"]


@pytest.fixture
def own(tiny: list[str], tiny_root: Path, tmp_path: Path) -> list[str]:
    """``tiny`` on a copy of the data that may be harmed."""
    root = shutil.copytree(tiny_root, tmp_path / "data")
    return [f"data.source.root={root}" if key.startswith("data.source.root=") else key for key in tiny]


def start(shell: Shell, overrides: list[str]) -> subprocess.Popen[str]:
    """A training that has made its first epoch and goes on for ever."""
    process = shell.start("train", [*overrides, *LONG, *RUN])
    wait_for(lambda: (shell.directory / "run" / "metrics.jsonl").exists(), process)
    return process


def ended(process: subprocess.Popen[str], shell: Shell, within_s: float) -> str:
    """The output of a training that failed in time; it left a checkpoint and an honest manifest."""
    began = time.monotonic()
    output, _ = process.communicate(timeout=150)
    assert time.monotonic() - began < within_s
    assert process.returncode not in (0, None), output
    run = shell.directory / "run"
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"
    assert list((run / "checkpoints").glob("state-*.ckpt"))
    return output


def workers_of(parent: int) -> list[int]:
    """Process ids of the data workers: forked, they bear the command line of their parent."""
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return [pid for pid in map(int, found.stdout.split()) if alive(pid) and command(pid) == command(parent)]


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.slow
def test_a_killed_worker_is_explained(own: list[str], shell: Shell) -> None:
    process = start(shell, [*own, "data.num_workers=2"])
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    output = ended(process, shell, 30)
    assert "data.num_workers" in output
    assert "memory" in output
    goes_on(shell)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_never_answers_is_named(workers: int, own: list[str], shell: Shell) -> None:
    """A FIFO that nobody writes to blocks its reader as a dead network drive does."""
    process = start(shell, [*own, f"data.num_workers={workers}", "data.timeout_s=15"])
    for image in (shell.directory / "data" / "images").iterdir():
        image.unlink()
        os.mkfifo(image)
    output = ended(process, shell, 15 + 30)
    assert "data.timeout_s=15" in output
    assert "reading the sample '" in output


@pytest.mark.slow
def test_a_worker_that_sleeps_is_noticed(own: list[str], shell: Shell) -> None:
    """Stopped, it cannot tell its sample."""
    process = start(shell, [*own, "data.num_workers=1", "data.timeout_s=15"])
    (worker,) = workers_of(process.pid)
    os.kill(worker, signal.SIGSTOP)
    output = ended(process, shell, 15 + 30)
    assert "data.timeout_s" in output
    assert not alive(worker)
    goes_on(shell)


@pytest.mark.slow
def test_a_rank_that_sleeps_takes_the_job_down(own: list[str], shell: Shell) -> None:
    process = start(shell, [*own, *DDP, "training.timeout_s=20"])
    ranks = ranks_of(process.pid)
    os.kill(ranks[1], signal.SIGSTOP)
    output = ended(process, shell, 20 + 30)
    assert process.returncode == 1
    assert "training.timeout_s" in output
    assert not any(map(alive, ranks))


@pytest.mark.slow
def test_a_rank_that_raises_takes_the_job_down(own: list[str], shell: Shell) -> None:
    process = start(shell, [*own, *DDP])
    ranks = ranks_of(process.pid)
    (shell.directory / "data" / "images" / "05.png").write_bytes(b"no longer a picture")
    victims = [image for image in (shell.directory / "data" / "images").iterdir() if image.name != "05.png"]
    for image in victims:  # whichever split it is in
        image.write_bytes(b"no longer a picture")
    output = ended(process, shell, 30)
    assert process.returncode == 1
    assert ".png' cannot be decoded" in output
    assert not any(map(alive, ranks))


HANG = """
import sys, threading
from pathlib import Path
from perpixel.cli.train import main
from perpixel.training.callbacks import FirstBatch

def hang(self, trainer, module, batch, index):
    if trainer.global_step > 3:
        Path("hangs").touch()
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

FirstBatch.on_train_batch_start = hang
main()
"""


@pytest.mark.slow
def test_a_hang_of_any_kind_ends(own: list[str], shell: Shell) -> None:
    """The main thread waits for a lock that nobody will release."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANG, *own, *LONG, *RUN, "training.timeout_s=10"],
        cwd=shell.directory,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for((shell.directory / "hangs").exists, process)
    output = ended(process, shell, 10 + 30)
    assert process.returncode == 1
    assert "nothing has moved" in output
    assert "most recent call first" in output
    assert "nothing has moved" in json.loads((shell.directory / "run" / "manifest.json").read_text())["error"]


def test_killing_sleeping_workers_hides_no_error() -> None:
    """torch raises for every worker that dies, in whatever line the main thread is: in place of what is being told."""
    batches = iter(TimeoutLoader(range(100), num_workers=2))  # type: ignore[arg-type,var-annotated]
    next(batches)
    found = workers.marked()
    assert len(found) == 2
    os.kill(found[0].pid or 0, signal.SIGSTOP)
    data_are_lost()
    assert not any(worker.is_alive() for worker in found)
    time.sleep(0.2)  # here it would be raised
    assert signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, signal.SIG_IGN)  # torch's is back
    del batches


def data_are_lost() -> None:
    """What Lightning calls then."""
    nothing: Any = None
    Watchdog(10).on_exception(nothing, nothing, DataLost("no batch has come from the DataLoader's workers"))


def test_only_data_workers_are_killed() -> None:
    """A notebook's own pool and loader, started before the training, live on."""
    own = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    own.start()
    theirs = iter(DataLoader(range(10), num_workers=1))  # type: ignore[arg-type]
    ours = iter(TimeoutLoader(range(10), num_workers=1))  # type: ignore[arg-type,var-annotated]
    data_are_lost()
    assert own.is_alive()
    assert [int(number) for number in theirs] == list(range(10))
    own.kill()
    del ours


def test_a_worker_that_cannot_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that waits in the kernel for a dead drive; Python would join it when it exits."""
    before = workers.marked()  # another test's, that nobody has collected yet
    batches = iter(TimeoutLoader(range(100), num_workers=2))  # type: ignore[arg-type,var-annotated]
    stuck, other = (worker for worker in workers.marked() if worker not in before)
    os.kill(stuck.pid or 0, signal.SIGSTOP)
    monkeypatch.setattr(stuck, "kill", lambda: None)
    monkeypatch.setattr(watchdog, "REAP_S", 1.0)
    data_are_lost()
    assert alive(stuck.pid or 0)
    assert not alive(other.pid or 0)
    assert not {stuck, other} & set(multiprocessing.active_children())
    with handled(signal.SIGCHLD, by=lambda *_: None):  # torch would raise in whatever line the main thread is by then
        os.kill(stuck.pid or 0, signal.SIGKILL)
        stuck.join()
    del batches


LATE_ALARM = """
import threading, time
from perpixel.training.callbacks import Watchdog, watchdog
from perpixel.training.signals import handled

entered, real = threading.Event(), watchdog.faulthandler.dump_traceback_later

def late(timeout, **rest):
    entered.set()
    time.sleep(0.5)
    real(0.5, **rest)

watchdog.faulthandler.dump_traceback_later = late
dog = Watchdog(0.1)
dog.setup(None, None, "fit")
entered.wait()
dog.teardown(None, None, "fit")
time.sleep(2)
print("lives")
"""


def test_no_alarm_goes_off_once_the_watch_is_over() -> None:
    """Not even one that the watching thread was just about to set."""
    done = subprocess.run(
        [sys.executable, "-c", LATE_ALARM],
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "lives\n"), done.stderr


def test_a_handler_from_c_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tells None for it, and cannot put it back."""
    real = signal.signal

    def installed(signum: int, handler: Any) -> Any:
        assert handler is not None, "signal.signal takes no None"
        real(signum, handler)

    monkeypatch.setattr(signal, "signal", installed)
    monkeypatch.setattr(signal, "getsignal", lambda signum: None)
    data_are_lost()
    with handle_signals():
        pass


def test_time_is_up_even_in_a_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead")
    began = time.monotonic()
    with pytest.raises(DataLost, match=r"'sample 7'.*timeout_s=0\.2"), at_most(0.2, lambda: reading("sample 7", 0.2)):
        (tmp_path / "dead").read_bytes()
    assert time.monotonic() - began < 5
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_without_shared_memory_a_batch_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size: int) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    with pytest.raises(DataLost, match="--shm-size"):
        SharedBatch({"mask": [np.zeros((4, 4), np.uint8)]}, ["a"])
    wrapped = DataLost("Caught DataLost in DataLoader worker process 0.\nOriginal Traceback …\nx.DataLost: no room")
    assert str(explained(wrapped)) == "no room"


def test_other_errors_are_not_explained_away() -> None:
    assert explained(RuntimeError("shape mismatch")) is None
    assert explained(RuntimeError("DataLoader worker (pid(s) 3, 4) exited unexpectedly")) is not None
    assert explained(RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. ")) is not None
