"""The verb from the command line to its files."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.commands import Shell, WarmShell

from perpixel.cli.shapes import _checkerboard, build_model
from perpixel.config.compose import compose
from perpixel.models import Encoder


def test_shapes_prints_and_writes_the_table_and_the_picture(warm_shell: WarmShell) -> None:
    choices = ["model=starter_unet", "model.width=4", "size=[64,64]", "measured=1"]
    told = warm_shell.run("shapes", [*choices, f"output={warm_shell.directory}"])
    assert "decoder.blocks.3" in told
    assert "checkerboard, untrained" in told
    out = warm_shell.directory / "shapes" / "model-starter_unet_model.width-4_size-64+64"
    with (out / "shapes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["height"]) for row in rows if "blocks" in row["stage"]] == [8, 16, 32, 64]
    assert all(int(row["measured"]) <= 64 for row in rows)
    assert Image.open(out / "shapes.png").width > 800


def test_mistakes_are_told_together_and_before_torch(shell: Shell) -> None:
    told = shell.run("shapes", ["size=[3]", "measured=-1"], code=2)
    assert "2 faults" in told
    assert "size=[256,192]" in told
    assert "measured=-1: give a whole number, 0 or more" in told


def test_a_loss_is_not_ignored_in_silence(shell: Shell) -> None:
    assert "loss=: shapes trains nothing; leave it out" in shell.run("shapes", ["loss=ce"], code=2)


def test_a_model_that_cannot_be_built_says_why(warm_shell: WarmShell) -> None:
    told = warm_shell.run("shapes", ["model=pspnet", "decoder=transposed", "encoder=resnet18"], code=1)
    assert "has nothing that decoder=transposed could replace" in told
    assert "Traceback" not in told


def test_what_matched_of_the_weights_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bilinear twin, against which the checkerboard is scored, loads them again."""
    torch.save(Encoder("test_efficientnet").build().state_dict(), tmp_path / "weights.pth")
    chosen = ["encoder=resnet18", "encoder.name=test_efficientnet", f"encoder.weights={tmp_path / 'weights.pth'}"]
    cfg = compose(
        ["model=unet", "model.channels=[8,8,8,8,8]", "decoder=transposed", "size=[64,64]", *chosen], "shapes"
    ).cfg
    with caplog.at_level(logging.INFO):
        _checkerboard(cfg, build_model(cfg), 3)
    assert caplog.text.count(" matched, 0 missing") == 1
    assert "checkerboard, untrained" in caplog.text
