"""The study of construction times compares what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from torch import nn

from perpixel.models import DPT, Bilinear, Encoder, Linknet

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "assembly" / "assembly.py"


@pytest.mark.slow
def test_one_round_of_one_architecture_is_compared() -> None:
    found = runpy.run_path(str(SCRIPT))["compare"]("linknet", "mobilenet_v2", pairs=1)
    limited = {each.upsampling: each.limited for each in found}
    assert limited == {
        "bilinear": True,
        "nearest": True,
        "transposed": False,
        "transposed 4×4": True,  # as smp's own
        "pixelshuffle": False,
        "dysample": False,
    }
    assert all(len(each.ratios) == 1 and each.ratios[0] > 0 for each in found)


def test_the_limit_holds_where_it_applies() -> None:
    comparison = runpy.run_path(str(SCRIPT))["Comparison"]
    assert comparison("unet", "resnet18", "bilinear", [1.2, 1.3, 9.0], [1.0, 1.0, 1.0]).over
    assert not comparison("unet", "resnet18", "bilinear", [1.0, 1.05, 9.0], [1.0, 1.0, 1.0]).over
    assert not comparison("unet", "resnet18", "pixelshuffle", [2.0], [1.0]).over
    assert comparison("linknet", "resnet18", "transposed 4×4", [2.0], [1.0]).over
    assert comparison("dpt", "vit_tiny_patch16_224", "transposed", [2.0], [1.0]).over


def test_every_word_of_decoder_is_measured() -> None:
    measured = runpy.run_path(str(SCRIPT))["UPSAMPLINGS"]
    assert {file.stem for file in (ROOT / "conf" / "decoder").glob("*.yaml")} <= set(measured)


def test_no_transposed_convolution_is_built_to_be_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: nn.ConvTranspose2d, *_: object, **__: object) -> None:
        raise AssertionError("bilinear upsampling has no transposed convolution")

    monkeypatch.setattr(nn.ConvTranspose2d, "__init__", refuse)
    DPT(Encoder("test_vit"), Bilinear(), 2, channels=8, intermediate_channels=(8,) * 4)
    Linknet(Encoder("resnet18"), Bilinear(), 2)
