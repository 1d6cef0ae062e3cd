"""Running the command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from perpixel.training.ledger import Kind
from perpixel.training.store import CheckpointStore

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """One thread a process: tests run side by side."""
    return os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_SILENT": "true"}


def newest(run: Path, kind: Kind) -> dict[str, Any]:
    """What a run's newest checkpoint holds."""
    found = CheckpointStore(run / "checkpoints").newest_valid(kind)
    assert found is not None
    content: dict[str, Any] = torch.load(found[0], weights_only=True)
    return content


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


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)
