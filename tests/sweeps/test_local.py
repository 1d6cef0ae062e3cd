"""``hydra/launcher=local``: jobs side by side, and what the end of one or of all leaves."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Shell, WarmShell
from tests.sweeps.test_again import LONG, epochs, manifest, rows, runs, wait_for

from perpixel.sweeps.pool import Outcome, Work, run_all
from perpixel.sweeps.shares import Slot, ranks_of, share_out
from perpixel.sweeps.table import Table

LOCAL = ["-m", "hydra/launcher=local", "hydra.launcher.n_jobs=2", "sweep.name=mine"]
ENDLESS = [*LONG, "trainer.max_epochs=4000"]


def test_a_machine_is_shared_out() -> None:
    assert share_out(None, 9, 1, ["0", "1", "2"], 12) == [Slot((name,), 4) for name in "012"]
    assert share_out(None, 9, 2, ["a", "b", "c", "d", "e"], 8) == [Slot(("a", "b"), 4, 2), Slot(("c", "d"), 4, 2)]
    assert share_out(None, 9, 1, [], 2) == [Slot((), 1)] * 2
    assert share_out(None, 1, 1, [], 8) == [Slot((), 8)]
    assert [slot.threads for slot in share_out(3, 9, 1, [], 8)] == [2] * 3


@pytest.mark.parametrize(("n_jobs", "ranks", "match"), [(3, 1, "2 jobs fit"), (None, 3, "there are 2 GPUs")])
def test_more_than_there_is_is_refused(n_jobs: int | None, ranks: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        share_out(n_jobs, 9, ranks, ["0", "1"], 8)


def test_the_launcher_chooses_the_devices() -> None:
    assert [ranks_of(devices) for devices in ("auto", 2, "3", -1)] == [1, 2, 3, 1]
    with pytest.raises(ValueError, match="give how many"):
        ranks_of([0, 1])


def test_a_slot_s_variables_reach_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    slot = Slot(("4", "5"), 6, 2)
    assert slot.environment() == {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "4,5"}


class Silent:
    def started(self, work: Work) -> None: ...
    def ended(self, work: Work, outcome: Outcome) -> None: ...
    def refresh(self, running: Any) -> None: ...


def die() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def test_a_job_that_dies_harms_no_other_and_scores_nothing(tmp_path: Path) -> None:
    calls = {"good": lambda: 0.5, "killed": die, "left": lambda: None, "last": lambda: float(os.getpid())}
    waiting = [Work(name, tmp_path / name, call) for name, call in calls.items()]
    found: dict[str, Outcome] = {}
    run_all(
        [Slot((), 1)] * 2,
        lambda: waiting.pop(0) if waiting else None,
        lambda work, outcome: found.update({work.name: outcome}),
        Silent(),
    )
    assert (found["good"].score, found["left"].score) == (0.5, None)
    assert found["last"].score != os.getpid()
    assert math.isnan(float(found["killed"].score or 0))
    assert found["killed"].died == "killed by SIGKILL"


def test_the_table_tells_what_is_left(tmp_path: Path) -> None:
    table = Table(5, 2, "val/mIoU", "maximize", running=1)
    work = Work("a", tmp_path, lambda: 0.0)
    table.done = [(work, Outcome(0.5, None, 10.0)), (work, Outcome(0.75, None, 20.0))]
    assert table.summary() == "1 running, 2 waiting, 2 done, best 0.7500, 0:00:22 left"
    assert table.told(Outcome(math.nan, None, 3.0)) == "failed after 0:00:03"


def test_jobs_run_side_by_side_into_one_leaderboard(tiny: list[str], warm_shell: WarmShell) -> None:
    output = warm_shell.run("train", [*LOCAL, *tiny, "training.test=false", "seed=1,2,3"])
    sweep = warm_shell.directory / "runs" / "sweeps" / "mine"
    assert [found["status"] for found in runs(sweep).values()] == ["finished"] * 3
    assert len(rows(sweep)) == 3
    assert "2_seed-3: val/mIoU" in output
    assert "0 running, 0 waiting, 3 done, best" in output
    assert "mIoU" in (sweep / "0_seed-1" / "console.log").read_text()
    began = sorted(found["started"] for found in runs(sweep).values())
    assert began[1] <= min(found["finished"] for found in runs(sweep).values())


def pid_of(run: Path) -> int:
    return int((run / ".in_use").read_text().split()[1])


def is_alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/status")
    return path.exists() and "State:\tZ" not in path.read_text()


@pytest.mark.slow
def test_a_killed_job_is_told_and_the_same_command_goes_on_with_it(tiny: list[str], shell: Shell) -> None:
    command = [*LOCAL, *tiny, *LONG, "seed=1,2,3"]
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    process = shell.start("train", command)
    wait_for(lambda: epochs(sweep / "0_seed-1"), process)
    os.kill(pid_of(sweep / "0_seed-1"), signal.SIGKILL)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 1, output
    assert "0_seed-1: killed by SIGKILL" in output
    assert [row["status"] for row in rows(sweep)] == ["finished", "finished", "interrupted"]
    output = shell.run("train", command)
    assert "2 finished and kept, 1 to go on with" in output
    assert epochs(sweep / "0_seed-1") == list(range(6))


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_sweep_leaves_its_jobs_stopped_with_their_states(
    signum: int, tiny: list[str], shell: Shell
) -> None:
    """Ctrl-C, which a terminal sends to the whole group; and ``kill -9`` of the sweep's process alone."""
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    process = shell.start("train", [*LOCAL, *tiny, *ENDLESS, "seed=1,2,3"], own_group=True)
    names = ("0_seed-1", "1_seed-2")
    wait_for(lambda: all(epochs(sweep / name) for name in names), process)
    pids = [pid_of(sweep / name) for name in names]
    (os.killpg if signum == signal.SIGINT else os.kill)(process.pid, signum)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == (130 if signum == signal.SIGINT else -signal.SIGKILL), output
    end = time.monotonic() + 120
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(is_alive, pids))
    for name in names:
        assert manifest(sweep / name)["status"] == "interrupted"
        assert "stopped by SIGTERM behind step" in (sweep / name / "train.log").read_text()
    assert not (sweep / "2_seed-3").exists()
