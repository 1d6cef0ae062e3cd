"""Sweeps as Slurm jobs on a real slurmd: their results, and what happens when a job is requeued or out of time."""

from __future__ import annotations

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Shell
from tests.training.test_data_parallel import wait_for as wait_for_any

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]

SLURM = ["-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.sweep.dir=sweep"]
EPOCHS = 300
"""So many outlast the time that Slurm takes to act."""

wait_for = partial(wait_for_any, seconds=120.0)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def restarts(job: str) -> int:
    found = re.search(r"Restarts=(\d+)", ask("scontrol", "show", "job", job))
    return int(found.group(1)) if found else 0


def hurry(job: str) -> None:
    """Slurm lets requeued jobs wait for two minutes."""
    ask("scontrol", "update", f"JobId={job}", "StartTime=now")


def test_a_sweep_lands_in_one_directory(tiny: list[str], shell: Shell) -> None:
    output = shell.run("train", [*SLURM, *tiny, "loss=ce,dice"])
    sweep = shell.directory / "sweep"
    runs = sorted(path for path in sweep.iterdir() if path.is_dir() and not path.name.startswith("."))
    assert [run.name for run in runs] == ["0_loss-ce", "1_loss-dice"]
    assert [json.loads((run / "manifest.json").read_text())["status"] for run in runs] == ["finished"] * 2
    assert "2 runs: 2 finished" in (sweep / "leaderboard.md").read_text()
    assert output.count("# Leaderboard") == 1


@pytest.mark.parametrize("ending", ["requeue", "preemption", "time limit"])
def test_a_job_that_comes_back_goes_on(ending: str, tiny: list[str], shell: Shell) -> None:
    """The same directory, every epoch once, at most a step lost, one turn more and not two."""
    limit = ["hydra.launcher.timeout_min=5", "hydra.launcher.signal_delay_s=60"]
    process = shell.start("train", [*SLURM, *limit, *tiny, "seed=7", f"trainer.max_epochs={EPOCHS}"])
    sweep = shell.directory / "sweep"
    (run,) = wait_for(
        lambda: [path.parent for path in sweep.glob("0_*/metrics.jsonl") if len(lines(path)) > 2], process
    )
    job = ask("squeue", "--noheader", "--format=%A").split()[0]
    if ending == "requeue":
        ask("scontrol", "requeue", job)
    elif ending == "preemption":  # Slurm itself takes the node for a job of a higher partition
        ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    else:  # what Slurm sends so long before the limit, by its own means
        ask("scancel", "--signal=USR1", job)
    wait_for(lambda: "JobState=PENDING" in ask("scontrol", "show", "job", job), process)
    seen = len(lines(run / "metrics.jsonl"))
    assert seen < EPOCHS
    hurry(job)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert restarts(job) == 1
    assert [line["epoch"] for line in lines(run / "metrics.jsonl")] == list(range(EPOCHS))
    log = (run / "train.log").read_text()
    stopped = re.findall(r"stopped by SIG\w+ behind step (\d+)", log)
    resumed = re.findall(r"going on from .*/state-(\d+)(?:-\d+)?\.ckpt", log)
    assert len(stopped) == len(resumed) == 1
    assert 0 <= int(stopped[0]) - int(resumed[0]) <= 1
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert [turn["changes"] for turn in manifest["resumed"]] == [[]]
    assert list(sweep.glob("[0-9]*")) == [run]
    assert "1 runs: 1 finished" in (sweep / "leaderboard.md").read_text()
