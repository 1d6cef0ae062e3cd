"""Every recipe in conf/experiment runs for a step."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

import perpixel
from perpixel.config import compose, conf_dir
from perpixel.tracking import manifest

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))

STEP = [
    "data.size=[64,64]",
    "data.batch_size=2",
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.enable_progress_bar=false",
    "training.overlays=1",
]

FEW = {"data.source.train": 4, "data.source.val": 2, "data.source.test": 2}
"""Scenes to draw, in place of hundreds."""


def test_there_are_recipes() -> None:
    assert EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_recipe_runs_for_a_step(name: str, tmp_path: Path) -> None:
    cfg = compose([f"experiment={name}"]).cfg
    few = [f"{key}={number}" for key, number in FEW.items() if OmegaConf.select(cfg, key) is not None]
    has_weights = "weights" in cfg.encoder
    untrained = ["encoder.weights=none", "encoder.sha256=null"] if has_weights else []
    result = perpixel.train([f"experiment={name}", *STEP, *few, *untrained, f"hydra.run.dir={tmp_path / 'run'}"])
    assert result.scores["val"]["mIoU"] is not None
    assert name != "checkerboard" or "checkerboard" in manifest.read(tmp_path / "run")
