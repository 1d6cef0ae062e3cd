"""A tracking server that is down, silent, slow or dies: training goes on, and its local log is whole."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from perpixel.tracking.background_tracker import BackgroundTracker
from perpixel.tracking.call_queue import CallQueue
from perpixel.tracking.connectivity import silence
from perpixel.tracking.loggers import RunIdentity, TensorBoard, Tracker
from tests.commands import Shell
from tests.tracking.servers import Server, black_hole, closed_port
from tests.training.test_data_parallel import wait_for

TIMEOUT_S = 3
ONLINE = ["logger=wandb", "logger.mode=online", f"logger.timeout_s={TIMEOUT_S}", "hydra.run.dir=run"]


@contextmanager
def slow() -> Iterator[str]:
    with Server(delay_s=30) as server:
        yield server.url


@contextmanager
def down() -> Iterator[str]:
    yield closed_port()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def local_log(run: Path) -> bytes:
    """W&B's own log on disk."""
    (log,) = run.glob("wandb/*run-*/*.wandb")
    return log.read_bytes()


def assert_can_be_sent(output: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the output names brings all scores of the run to a server that answers."""
    (command,) = set(re.findall(r"send it later with: wandb (sync \S.*)", output))
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        sync = [sys.executable, "-m", "wandb", *shlex.split(command)]
        subprocess.run(sync, check=True, capture_output=True, timeout=120, cwd=run.parent)
        arrived = b"".join(server.streamed)
    epochs = len((run / "metrics.jsonl").read_text().splitlines())
    assert arrived.count(b'val/mIoU\\":') >= epochs
    for logged in (b"final/val/mIoU", b"val/IoU/disc", b"curves"):
        assert logged in arrived


@pytest.mark.slow
@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("server", [down, black_hole, slow])
def test_a_server_that_cannot_be_reached_costs_nothing(
    server: Any, tiny: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        output = shell.run("train", [*tiny, *ONLINE])
        shell.run("train", [*tiny, "logger=wandb", "logger.mode=offline", "hydra.run.dir=offline"])
    run = shell.directory / "run"
    found, offline = (json.loads((shell.directory / name / "manifest.json").read_text()) for name in ("run", "offline"))
    assert found["status"] == "finished"
    assert found["duration_s"] < 2 * offline["duration_s"] + 2 * TIMEOUT_S + 30, "the start and the end wait, no step"
    assert "kept offline" in output
    log = local_log(run)
    for logged in (b"final/val/mIoU", b"val/IoU/disc", b"curves"):
        assert logged in log
    assert_can_be_sent(output, run, monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("key")
def test_a_server_that_falls_silent_costs_nothing(
    tiny: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        process = shell.start("train", [*tiny, *ONLINE, "trainer.max_epochs=40"])
        metrics = shell.directory / "run" / "metrics.jsonl"
        wait_for(metrics.exists, process)
        server.silent.set()
        output, _ = process.communicate(timeout=120)
        server.silent.clear()
    assert process.returncode == 0, output
    assert "kept offline" not in output
    assert "wandb sync" in output
    assert len(metrics.read_text().splitlines()) == 40
    log = local_log(shell.directory / "run")
    assert b"final/val/mIoU" in log
    assert b"curves" in log
    assert_can_be_sent(output, shell.directory / "run", monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("key")
def test_a_server_that_answers_is_used(tiny: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        output = shell.run("train", [*tiny, *ONLINE, "logger.timeout_s=30"])
        assert server.streamed
    assert "kept offline" not in output
    assert "wandb sync" not in output


def test_silence_is_told_within_its_bound() -> None:
    began = time.monotonic()
    with black_hole() as url:
        told = str(silence(url, 0.5))
        assert "no answer" in told or "timed out" in told
    assert silence(closed_port(), 5) is not None
    assert silence("file:///etc/passwd", 5) is not None
    with Server() as server:
        assert silence(server.url, 20) is None
    assert time.monotonic() - began < 20


class Failing(Tracker):
    """Raises in every call but the start."""

    timeout_s = 1.0

    def start(self, run: RunIdentity) -> Logger:
        return FailingLogger()

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        raise ConnectionError("pictures")

    def finish(self, failed: bool) -> None:
        raise ConnectionError("finish")


class FailingLogger(Logger):
    name = version = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        raise ConnectionError("scores")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("hyperparameters")


class Unstartable(Failing):
    def start(self, run: RunIdentity) -> Logger:
        raise OSError("no room")


class Hanging(Failing):
    def finish(self, failed: bool) -> None:
        threading.Event().wait()


def identity(directory: Path) -> RunIdentity:
    return RunIdentity(directory, "run", None, {})


@pytest.mark.parametrize("tracker", [Failing(), Unstartable(), Hanging()], ids=lambda one: type(one).__name__)
def test_whatever_a_tracker_does_nothing_is_raised(
    tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sheltered = BackgroundTracker(tracker)
    logger = sheltered.start(identity(tmp_path))
    for step in range(5):
        logger.log_metrics({"loss": 1.0}, step)
    sheltered.pictures({})
    sheltered.finish(False)
    assert 1 <= len(caplog.records) <= 2, "told once, not at every step"
    assert "Training goes on" in caplog.text or "metrics.jsonl" in caplog.text


def test_a_configuration_at_fault_is_refused(tmp_path: Path) -> None:
    class Misconfigured(Failing):
        def start(self, run: RunIdentity) -> Logger:
            raise ValueError("logger=x needs the package x")

    with pytest.raises(ValueError, match="needs the package"):
        BackgroundTracker(Misconfigured()).start(identity(tmp_path))


def test_calls_arrive_in_order_and_before_the_end() -> None:
    told: list[int] = []
    courier = CallQueue("list")
    for number in range(100):
        courier.send("telling", lambda number=number: told.append(number))
    assert courier.close(10)
    assert told == list(range(100))


def test_tensorboard_whose_directory_cannot_be_made_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("a file is in the way")
    sheltered = BackgroundTracker(TensorBoard())
    logger = sheltered.start(identity(tmp_path))
    logger.log_metrics({"loss": 1.0}, 0)
    logger.log_metrics({"loss": 1.0}, 1)
    sheltered.finish(False)
    assert len(caplog.records) == 1
