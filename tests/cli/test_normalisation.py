"""How images are normalised: as given, as pretrained weights expect, or by the data's own statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import perpixel
from perpixel.config import compose
from perpixel.workflows.assembly import build_source, settle_normalisation


def settled(overrides: list[str]) -> tuple[list[float], list[float]]:
    cfg = compose(overrides).cfg
    settle_normalisation(cfg, build_source(cfg))
    return list(cfg.data.mean), list(cfg.data.std)


LITE = ["model=unet", "encoder=efficientnet_lite0"]


def folder(tiny_root: Path, *more: str) -> list[str]:
    return ["data=folder", f"data.source.root={tiny_root}", "data.source.classes=[ground,square,disc]", *more]


def test_pretrained_weights_come_before_the_datas_statistics(tiny_root: Path) -> None:
    assert settled(folder(tiny_root, *LITE)) == ([0.5] * 3, [0.5] * 3)
    assert settled(folder(tiny_root, "encoder=resnet18", "encoder.weights=imagenet"))[0] == [0.485, 0.456, 0.406]
    measured = settled(folder(tiny_root, *LITE, "encoder.weights=none", "encoder.sha256=null"))[0]
    assert 0 < measured[0] < 0.5
    assert settled(folder(tiny_root, *LITE, "data.mean=[0.1,0.2,0.3]", "data.std=[1,1,1]"))[0] == [0.1, 0.2, 0.3]


def test_other_channels_have_statistics_of_their_own(tiny_root: Path) -> None:
    assert len(settled(folder(tiny_root, *LITE, "data.source.channels=1"))[0]) == 1


def test_the_demos_numbers_stay() -> None:
    assert settled(LITE) == ([0.5] * 3, [0.5] * 3)


def test_one_without_the_other(tiny_root: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.mean and data\.std belong together"):
        settled(folder(tiny_root, "data.mean=[0.1,0.2,0.3]"))


def test_a_run_keeps_what_was_settled(tiny: list[str]) -> None:
    result = perpixel.train(tiny)
    config: dict[str, Any] = yaml.safe_load((result.directory / "config.yaml").read_text())
    model = json.loads((result.directory / "model" / "model.json").read_text())
    assert config["data"]["mean"] == model["mean"] != [0.5] * 3
    assert config["data"]["std"] == model["std"]


def test_sensors_of_16_bits_have_statistics_of_their_own(tiny_root: Path, tmp_path: Path) -> None:
    for mask in (tiny_root / "masks").iterdir():
        for folder_name, array in (
            ("images", np.full((32, 48, 3), 700, np.uint16)),
            ("masks", np.zeros((32, 48), np.uint8)),
        ):
            (tmp_path / folder_name).mkdir(exist_ok=True)
            np.save(tmp_path / folder_name / f"{mask.stem}.npy", array)
    assert settled(folder(tmp_path, *LITE)) == ([pytest.approx(700 / 65535, rel=1e-4)] * 3, [1.0] * 3)
