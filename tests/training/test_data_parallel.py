"""Two real ranks on one machine (gloo): run directories, exact scores, and what happens when one dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import Shell, newest

from perpixel.uncertainty import read_counts

DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=2"]
LONG = ["trainer.max_epochs=100000", "trainer.check_val_every_n_epoch=1000"]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 90.0) -> Any:
    """Poll, and give what it found; fail with the process's output if it ends or the time is over."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(ended(process))
        time.sleep(0.1)
    return found


def ended(process: subprocess.Popen[str]) -> object:
    """Kill it, and give its output; a child that outlives it may hold the pipe open, and is not waited for."""
    process.kill()
    try:
        return process.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired as error:
        return error.output


def ranks_of(parent: int) -> list[int]:
    """Process ids of the ranks started by a process."""
    found = subprocess.run(
        ["pgrep", "-P", str(parent), "-f", "perpixel.workflows.job"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


def goes_on(shell: Shell) -> None:
    """Resume ``run`` (of four steps an epoch) and train it to an end."""
    run = shell.directory / "run"
    step = newest(run, "state")["global_step"]
    shell.run("train", ["resume=run", f"trainer.max_epochs={step // 4 + 2}", "trainer.check_val_every_n_epoch=1"])
    assert newest(run, "state")["global_step"] > step
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_sweep_of_two_jobs_of_two_ranks_makes_two_runs(tiny: list[str], shell: Shell) -> None:
    shell.run("train", ["-m", "loss=ce,dice", *tiny, *DDP, "logger=wandb"])
    (sweep,) = (shell.directory / "runs" / "sweeps").iterdir()
    runs = sorted(path for path in sweep.iterdir() if path.is_dir())
    assert [run.name for run in runs] == ["0_loss-ce", "1_loss-dice"]
    assert [json.loads((run / "manifest.json").read_text())["status"] for run in runs] == ["finished", "finished"]
    assert [len(list(run.glob("wandb/offline-run-*"))) for run in runs] == [1, 1]
    assert [len((run / "metrics.jsonl").read_text().splitlines()) for run in runs] == [1, 1]


@pytest.mark.slow
def test_two_ranks_score_what_one_process_scores(tiny: list[str], shell: Shell) -> None:
    """Val has 3 samples, odd for two ranks; batch 1 and one thread a rank, so that the arithmetic is the same.

    All scores: the confusion matrix's, edges and structures, calibration with its diagram.
    """
    split = ["data.source.fractions=[0.75,0.125,0.125]", "data.eval_batch_size=1"]
    shell.run("train", [*tiny, *DDP, *split, "hydra.run.dir=run"])
    shell.run("evaluate", ["run=run", "split=val"])
    ranks, one = (
        json.loads((shell.directory / "run" / name).read_text())["val"]
        for name in ("metrics.json", "evaluation_val.json")
    )
    assert np.sum(one["confusion"]) == 3 * 32 * 48
    assert {"mBoundaryIoU", "ECE", "reliability"} <= one.keys()
    ranks.pop("loss")  # evaluate has no loss
    ours, alone = (
        read_counts(shell.directory / "run" / f"{name}_images.npz")["val"] for name in ("metrics", "evaluation_val")
    )
    assert ours.names == alone.names
    assert np.array_equal(ours.counts, alone.counts)
    assert ranks == one


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], DDP], ids=["one process", "two ranks"])
def test_sigterm_leaves_a_checkpoint_and_exits_143(extra: list[str], tiny: list[str], shell: Shell) -> None:
    process = shell.start("train", [*tiny, *extra, *LONG, "hydra.run.dir=run"])
    run = shell.directory / "run"
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert newest(run, "state")["global_step"] > 0
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert f"resume={run}" in manifest["error"]


@pytest.mark.slow
def test_a_dead_rank_takes_the_job_down(tiny: list[str], shell: Shell) -> None:
    process = shell.start("train", [*tiny, *DDP, *LONG, "training.checkpoint.every_n_steps=2", "hydra.run.dir=run"])
    wait_for(lambda: list((shell.directory / "run" / "checkpoints").glob("state-*.ckpt")), process)
    ranks = ranks_of(process.pid)
    assert len(ranks) == 2
    began = time.monotonic()
    os.kill(ranks[1], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 1
    assert "rank 1 died" in output
    assert not any(map(alive, ranks))
    manifest = json.loads((shell.directory / "run" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "rank 1 died" in manifest["error"]
    goes_on(shell)


@pytest.mark.slow
def test_ranks_die_with_their_parent(tiny: list[str], shell: Shell) -> None:
    process = shell.start("train", [*tiny, *DDP, *LONG, "hydra.run.dir=run"])
    wait_for(lambda: (shell.directory / "run" / "metrics.jsonl").exists(), process)
    ranks = ranks_of(process.pid)
    assert len(ranks) == 2
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while any(map(alive, ranks)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, ranks))
