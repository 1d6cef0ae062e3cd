"""Signals at any moment of a run: what it leaves, and with which code it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest
from tests.commands import ROOT, Shell, environment, newest
from tests.training.test_data_parallel import DDP, LONG, wait_for

from perpixel.training.signals import Signals


def run_script(script: str, arguments: Sequence[str], shell: Shell) -> subprocess.Popen[str]:
    outside = {name: value for name, value in environment().items() if not name.startswith(("SLURM_", "TORCHELASTIC_"))}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments, "hydra.run.dir=run"],
        cwd=shell.directory,
        env=outside | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def status(shell: Shell) -> str:
    return str(json.loads((shell.directory / "run" / "manifest.json").read_text())["status"])


SIGNALLED = """
import os, signal, sys
import perpixel.workflows.job
from perpixel.cli.train import main

module, name, signum = (sys.argv.pop(1) for _ in range(3))
real = getattr(sys.modules[module], name)

def signalled(*args, **kwargs):
    setattr(sys.modules[module], name, real)
    found = real(*args, **kwargs)
    os.kill(os.getpid(), int(signum))
    return found

setattr(sys.modules[module], name, signalled)
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "signum", "left"),
    [
        (("perpixel.tracking.manifest", "update"), signal.SIGUSR1, "interrupted"),
        (("perpixel.training.fit", "evaluate"), signal.SIGTERM, "interrupted"),
        (("perpixel.workflows.job", "model_spec"), signal.SIGUSR1, "interrupted"),
        (("perpixel.workflows.job", "write_report"), signal.SIGTERM, "finished"),
    ],
    ids=["first manifest", "final evaluation", "bundle", "report"],
)
def test_a_signal_outside_training(
    moment: tuple[str, str], signum: signal.Signals, left: str, tiny: list[str], shell: Shell
) -> None:
    """Nothing waits for a boundary there; the run says what it is, and can go on."""
    process = run_script(SIGNALLED, [*moment, str(int(signum)), *tiny], shell)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert status(shell) == left
    if left == "interrupted":
        advised = re.search(r"Go on with: .* (resume=\S+)$", output, re.MULTILINE)
        assert advised, output
        shell.run("train", [advised[1]])
        assert status(shell) == "finished"


SLOW_STEP = """
import time
from pathlib import Path
from perpixel.cli.train import main
from perpixel.training.callbacks import FirstBatch

def slow(self, trainer, module, batch, index):
    if trainer.global_step == 2:
        Path("slow").touch()
        time.sleep(120)

FirstBatch.on_train_batch_start = slow
main()
"""


@pytest.mark.slow
def test_a_second_ctrl_c_stops_a_slow_step_at_once(tiny: list[str], shell: Shell) -> None:
    process = run_script(SLOW_STEP, [*tiny, *LONG], shell)
    wait_for((shell.directory / "slow").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, output


@pytest.mark.parametrize("echoing", ["TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", None])
def test_an_echo_is_no_second_signal(echoing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks and cluster jobs get one signal twice; at a terminal twice is twice."""
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    if echoing:
        monkeypatch.setenv(echoing, "1")
    stopped: list[int] = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "raise_signal", stopped.append)
    signals = Signals()
    signals.deferred = True
    for _ in range(2):
        signals.handle(signal.SIGTERM, None)
    assert stopped == ([] if echoing else [signal.SIGTERM])
    signals.handle(signal.SIGINT, None)
    assert stopped[-1] == signal.SIGINT


@pytest.mark.slow
def test_sigint_to_the_launcher_of_two_ranks(tiny: list[str], shell: Shell) -> None:
    process = shell.start("train", [*tiny, *DDP, *LONG, "hydra.run.dir=run"])
    wait_for((shell.directory / "run" / "metrics.jsonl").exists, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert status(shell) == "interrupted"
    assert newest(shell.directory / "run", "state")["global_step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], DDP], ids=["one process", "two ranks"])
def test_ctrl_c_at_a_terminal(extra: list[str], tiny: list[str], shell: Shell) -> None:
    """The terminal signals all processes of the group: the command, its ranks, and their data workers."""
    more = [*LONG, "data.num_workers=1", "hydra.run.dir=run"]
    process = shell.start("train", [*tiny, *extra, *more], own_group=True)
    wait_for((shell.directory / "run" / "metrics.jsonl").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert status(shell) == "interrupted"
    assert newest(shell.directory / "run", "state")["global_step"] > 0
