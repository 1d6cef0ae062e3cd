"""A trained run, and its ONNX export, made once: tracing takes some seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny_overrides

import perpixel
from perpixel.bundle import ModelBundle
from perpixel.cli.export import export
from perpixel.config import compose


def export_run(run: Path, *overrides: str) -> Path:
    """As the command does; the folder."""
    cfg = compose([f"run={run}", "pixels=60000", *overrides], "export").cfg
    export(cfg)
    return Path(cfg.output or run / "export" / str(cfg.export._target_).rpartition(".")[2].lower())


@pytest.fixture(scope="session")
def run(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported") / "run"
    small = [*tiny_overrides(tiny_root, directory.parent), "model.width=2", "training.overlays=0"]
    # Long enough to tell classes apart: with one label everywhere no rounding would change a pixel's.
    enough = ["trainer.max_epochs=12", "trainer.check_val_every_n_epoch=12", "optimizer.lr=0.02"]
    return perpixel.train([*small, f"hydra.run.dir={directory}", *enough]).directory


@pytest.fixture(scope="session")
def bundle(run: Path) -> ModelBundle:
    return ModelBundle.load(run)


@pytest.fixture(scope="session")
def onnx_folder(run: Path) -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return export_run(run)
