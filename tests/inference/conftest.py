"""A trained model, and one whose answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny_overrides

import perpixel


@pytest.fixture(scope="session")
def trained(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on ``tiny_root`` whose predictions hold several classes."""
    output = tmp_path_factory.mktemp("trained")
    overrides = [*tiny_overrides(tiny_root, output), "trainer.max_epochs=8", "optimizer.lr=0.02", "loss=ce"]
    return perpixel.train([*overrides, "training.ema_decay=null", f"hydra.run.dir={output / 'run'}"]).directory
