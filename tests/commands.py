"""Running the command as a user does, and looking at what it leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch

from perpixel.cli.evaluate import evaluate, split_changes
from perpixel.config import compose
from perpixel.training.checkpoint_index import Kind
from perpixel.training.store import CheckpointStore

ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """One thread a process: tests run side by side."""
    return os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_SILENT": "true"}


def newest(run: Path, kind: Kind) -> dict[str, Any]:
    """What a run's newest checkpoint holds."""
    found = CheckpointStore(run / "checkpoints").newest_valid(kind)
    assert found is not None
    content: dict[str, Any] = torch.load(found[0], weights_only=True)
    return content


def rescore(run: Path, split: str = "val", *more: str) -> dict[str, Any]:
    """What ``evaluate run=… split=… …`` finds, with tables such as the confusion matrix."""
    own, changes = split_changes([f"run={run}", f"split={split}", *more])
    evaluate(compose(own, "evaluate").cfg, changes)
    found: dict[str, Any] = json.loads((run / f"evaluation_{split}.json").read_text())[split]
    return found


class Shell:
    """``python src/<verb>.py`` from a checkout, in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(self, verb: str, arguments: Sequence[str], own_group: bool = False) -> subprocess.Popen[str]:
        """Start and do not wait; ``own_group`` makes a process group that can be signalled as a whole."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "src" / f"{verb}.py"), *arguments],
            cwd=self.directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0 if own_group else None,
        )

    def run(self, verb: str, arguments: Sequence[str], code: int = 0) -> str:
        """Run to the end; the exit code is checked, the output returned."""
        process = self.start(verb, arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
        return output


class WarmShell:
    """The same in a process forked from one that has imported everything: for what is not about starting or ending.

    An interpreter of its own spends more time on imports than these trainings take. Ranks and signals need one.
    """

    SERVER = multiprocessing.get_context("forkserver")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with pytest.MonkeyPatch.context() as patch:  # the libraries read it once, when the server starts
            for name, value in environment().items():
                patch.setenv(name, value)
            self.SERVER.set_forkserver_preload(
                ["perpixel.workflows.job", "perpixel.cli.train", "perpixel.cli.evaluate"]
            )
            forkserver.ensure_running()

    def run(self, verb: str, arguments: Sequence[str], code: int = 0) -> str:
        """Run to the end; the exit code is checked, the output returned."""
        output = self.directory / f"output-{uuid4()}.txt"
        command = [str(ROOT / "src" / f"{verb}.py"), *arguments]
        process = self.SERVER.Process(target=_run, args=(command, self.directory, environment(), output))
        process.start()
        process.join(300)
        text = output.read_text()
        assert process.exitcode == code, text
        return text


def _run(command: list[str], directory: Path, variables: Mapping[str, str], output: Path) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(directory)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
