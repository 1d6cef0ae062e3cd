"""The verb from the command line to its files."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from perpixel.cli.shapes import _checkerboard, build_model
from perpixel.config.compose import compose
from perpixel.models import Encoder

ROOT = Path(__file__).parents[2]


def run(*overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "shapes.py"), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_shapes_prints_and_writes_the_table_and_the_picture(tmp_path: Path) -> None:
    done = run("model=starter_unet", "model.width=4", "size=[64,64]", "measured=1", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "decoder.blocks.3" in done.stdout
    assert "checkerboard, untrained" in done.stdout
    out = tmp_path / "shapes" / "model-starter_unet_model.width-4_size-64+64"
    with (out / "shapes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["height"]) for row in rows if "blocks" in row["stage"]] == [8, 16, 32, 64]
    assert all(int(row["measured"]) <= 64 for row in rows)
    assert Image.open(out / "shapes.png").width > 800


def test_mistakes_are_told_together_and_before_torch() -> None:
    done = run("size=[3]", "measured=-1")
    assert done.returncode == 2
    assert "2 faults" in done.stderr
    assert "size=[256,256]" in done.stderr
    assert "measured=-1: give a whole number, 0 or more" in done.stderr


def test_a_loss_is_not_ignored_in_silence() -> None:
    done = run("loss=ce")
    assert done.returncode != 0
    assert "loss=: shapes trains nothing; leave it out" in done.stderr


def test_a_model_that_cannot_be_built_says_why() -> None:
    done = run("model=pspnet", "decoder=transposed", "encoder=resnet18")
    assert done.returncode != 0
    assert "has nothing that decoder=transposed could replace" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_matched_of_the_weights_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bilinear twin, against which the checkerboard is scored, loads them again."""
    torch.save(Encoder("test_efficientnet").build().state_dict(), tmp_path / "weights.pth")
    chosen = ["encoder=resnet18", "encoder.name=test_efficientnet", f"encoder.weights={tmp_path / 'weights.pth'}"]
    cfg = compose(
        ["model=unet", "model.channels=[8,8,8,8,8]", "decoder=transposed", "size=[64,64]", *chosen], "shapes"
    ).cfg
    with caplog.at_level(logging.INFO):
        _checkerboard(cfg, build_model(cfg))
    assert caplog.text.count(" matched, 0 missing") == 1
    assert "checkerboard, untrained" in caplog.text
