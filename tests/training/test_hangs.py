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

import pytest
from tests.cli.conftest import ROOT, Shell, environment
from tests.training.test_data_parallel import DDP, LONG, alive, ranks_of, wait_for
from torch.utils.data import DataLoader

from perpixel.data.patience import DataLost, at_most, explained, reading
from perpixel.training.callbacks import Watchdog

RUN = ["hydra.run.dir=run", "training.checkpoint.every_n_steps=2"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


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


def children(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.slow
def test_a_killed_worker_is_explained(own: list[str], shell: Shell) -> None:
    process = start(shell, [*own, "data.num_workers=2"])
    workers = [pid for pid in children(process.pid) if alive(pid)]
    os.kill(workers[0], signal.SIGKILL)
    output = ended(process, shell, 30)
    assert "data.num_workers" in output
    assert "memory" in output


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_never_answers_is_named(workers: int, own: list[str], shell: Shell) -> None:
    """A FIFO that nobody writes to blocks its reader as a dead network drive does."""
    process = start(shell, [*own, f"data.num_workers={workers}", "data.timeout_s=4"])
    for image in (shell.directory / "data" / "images").iterdir():
        image.unlink()
        os.mkfifo(image)
    output = ended(process, shell, 4 + 30)
    assert "data.timeout_s=4" in output
    assert "reading the sample '" in output


@pytest.mark.slow
def test_a_worker_that_sleeps_is_noticed(own: list[str], shell: Shell) -> None:
    """Stopped, it cannot tell its sample."""
    process = start(shell, [*own, "data.num_workers=1", "data.timeout_s=4"])
    worker = next(pid for pid in children(process.pid) if alive(pid))
    os.kill(worker, signal.SIGSTOP)
    output = ended(process, shell, 4 + 30)
    assert "data.timeout_s" in output


@pytest.mark.slow
def test_a_rank_that_sleeps_takes_the_job_down(own: list[str], shell: Shell) -> None:
    process = start(shell, [*own, *DDP, "training.timeout_s=5"])
    ranks = ranks_of(process.pid)
    os.kill(ranks[1], signal.SIGSTOP)
    output = ended(process, shell, 5 + 30)
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
from perpixel.cli.train import main
from perpixel.training.callbacks import FirstBatch

def hang(self, trainer, module, batch, index):
    if trainer.global_step > 3:
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
        [sys.executable, "-c", HANG, *own, *LONG, *RUN, "training.timeout_s=2"],
        cwd=shell.directory,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = ended(process, shell, 90)
    assert process.returncode == 1
    assert "nothing has moved" in output
    assert "most recent call first" in output
    assert "nothing has moved" in json.loads((shell.directory / "run" / "manifest.json").read_text())["error"]


def test_killing_sleeping_workers_hides_no_error() -> None:
    """torch raises for every worker that dies, in whatever line the main thread is: in place of what is being told."""
    batches = iter(DataLoader(range(100), num_workers=2))  # type: ignore[arg-type]
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    os.kill(workers[0].pid or 0, signal.SIGSTOP)
    nothing: Any = None
    Watchdog(10).on_exception(nothing, nothing, DataLost("no batch has come from the DataLoader's workers"))
    assert not any(worker.is_alive() for worker in workers)
    time.sleep(0.2)  # here it would be raised
    assert signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, signal.SIG_IGN)  # torch's is back
    del batches


def test_time_is_up_even_in_a_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead")
    began = time.monotonic()
    with pytest.raises(DataLost, match=r"'sample 7'.*timeout_s=0\.2"), at_most(0.2, lambda: reading("sample 7", 0.2)):
        (tmp_path / "dead").read_bytes()
    assert time.monotonic() - began < 5
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_errors_are_not_explained_away() -> None:
    assert explained(RuntimeError("shape mismatch")) is None
    assert explained(RuntimeError("DataLoader worker (pid(s) 3, 4) exited unexpectedly")) is not None
    assert explained(RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. ")) is not None
