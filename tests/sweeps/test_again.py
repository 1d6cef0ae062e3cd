"""The same command again: what is kept, gone on with and trained."""

from __future__ import annotations

import csv
import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Shell, WarmShell
from tests.training.test_data_parallel import wait_for as wait_for_any

wait_for = partial(wait_for_any, seconds=300.0)
LONG = ["trainer.max_epochs=6", "training.checkpoint.every_n_steps=1", "training.test=false", "training.overlays=0"]


def manifest(run: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def runs(sweep: Path) -> dict[str, dict[str, Any]]:
    return {path.name: manifest(path) for path in sorted(sweep.glob("[0-9]*"))}


def rows(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "leaderboard.csv").open() as file:
        return list(csv.DictReader(file))


def epochs(run: Path) -> list[int]:
    path = run / "metrics.jsonl"
    return [json.loads(line)["epoch"] for line in path.read_text().splitlines()] if path.exists() else []


def test_only_what_is_new_is_trained(tiny: list[str], warm_shell: WarmShell) -> None:
    sweep = warm_shell.directory / "runs" / "sweeps" / "mine"
    command = ["-m", *tiny, "sweep.name=mine", "training.test=false"]
    warm_shell.run("train", [*command, "seed=1"])
    ((name, first),) = runs(sweep).items()
    output = warm_shell.run("train", [*command, "seed=1,2"])
    assert "sweep of 2 runs (1 finished and kept, 1 new)" in output
    assert list(runs(sweep)) == [name, "1_seed-2"]
    assert runs(sweep)[name] == first
    assert [row["status"] for row in rows(sweep)] == ["finished"] * 2
    assert "2 finished and kept" in warm_shell.run("train", [*command, "seed=1,2"])


def test_what_failed_is_repeated_when_that_is_said(tiny: list[str], warm_shell: WarmShell) -> None:
    command = ["-m", *tiny, "sweep.name=mine", "scheduler=cosine", "scheduler.warmup_steps=10000"]
    warm_shell.run("train", command, code=1)
    output = warm_shell.run("train", command, code=1)
    assert "1 failed before" in output
    (run,) = runs(warm_shell.directory / "runs" / "sweeps" / "mine").values()
    assert "resumed" not in run
    output = warm_shell.run("train", [*command, "sweep.retry=true"], code=1)
    assert "1 to be repeated" in output
    (run,) = runs(warm_shell.directory / "runs" / "sweeps" / "mine").values()
    assert len(run["resumed"]) == 1


@pytest.mark.slow
def test_a_sweep_killed_in_its_third_job_of_four_goes_on(tiny: list[str], shell: Shell) -> None:
    command = ["-m", *tiny, *LONG, "sweep.name=mine", "seed=1,2,3,4"]
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    process = shell.start("train", command)
    third = sweep / "2_seed-3"
    wait_for(lambda: epochs(third)[1:], process)
    process.kill()
    process.communicate()
    before = runs(sweep)
    assert [found.get("status") for found in before.values()] == ["finished", "finished", "running"]
    output = shell.run("train", command)
    assert "2 finished and kept, 1 to go on with, 1 new" in output
    after = runs(sweep)
    assert [after[name] for name in list(before)[:2]] == list(before.values())[:2]
    assert len(after["2_seed-3"]["resumed"]) == 1
    assert epochs(third) == list(range(6))
    assert "resumed" not in after["3_seed-4"]
    assert [row["status"] for row in rows(sweep)] == ["finished"] * 4


@pytest.mark.slow
def test_two_sweeps_into_one_name_share_the_jobs_and_a_dead_one_is_taken_over(tiny: list[str], shell: Shell) -> None:
    command = ["-m", *tiny, *LONG, "sweep.name=mine", "seed=1,2,3"]
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    one, other = shell.start("train", command), shell.start("train", command)
    wait_for(lambda: all(epochs(path) for path in list(sweep.glob("[0-9]*"))[:2]) and len(runs(sweep)) > 1, one)
    one.kill()
    one.communicate()
    output, _ = other.communicate(timeout=400)
    assert other.returncode == 0, output
    assert [(name, found["status"]) for name, found in runs(sweep).items()] == [
        ("0_seed-1", "finished"), ("1_seed-2", "finished"), ("2_seed-3", "finished"),
    ]  # fmt: skip
    assert all(epochs(path) == list(range(6)) for path in sweep.glob("[0-9]*"))
    assert len(rows(sweep)) == 3


@pytest.mark.slow
def test_max_hours_ends_with_all_states_written(tiny: list[str], shell: Shell) -> None:
    command = ["-m", *tiny, *LONG, "sweep.name=mine", "seed=1,2", "trainer.max_epochs=4000"]
    output = shell.run("train", [*command, f"sweep.max_hours={60 / 3600}"], code=1)
    assert "are over; the same command goes on" in output
    first, *others = runs(shell.directory / "runs" / "sweeps" / "mine").values()
    assert first["status"] == "interrupted"
    assert not others


@pytest.mark.slow
def test_an_interrupted_sweep_of_other_code_asks(tiny: list[str], shell: Shell) -> None:
    command = ["-m", *tiny, *LONG, "sweep.name=mine", "seed=1,2"]
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    process = shell.start("train", command)
    wait_for(lambda: epochs(sweep / "0_seed-1"), process)
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    path = sweep / "0_seed-1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": "other"}))
    assert "sweep.stale=keep" in shell.run("train", command, code=2)
    shell.run("train", [*command, "sweep.stale=keep"])
    assert [found["status"] for found in runs(sweep).values()] == ["finished"] * 2
