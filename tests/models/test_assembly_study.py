"""The study of construction times compares what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "assembly" / "assembly.py"


@pytest.mark.slow
def test_one_round_of_one_architecture_is_compared() -> None:
    found = runpy.run_path(str(SCRIPT))["compare"]("linknet", "mobilenet_v2", pairs=1)
    assert [each.upsampling for each in found] == ["bilinear", "transposed 4×4", "pixelshuffle", "dysample"]
    assert [each.limited for each in found] == [True, True, False, False]
    assert all(len(each.ratios) == 1 and each.ratios[0] > 0 for each in found)


def test_the_limit_holds_where_it_applies() -> None:
    comparison = runpy.run_path(str(SCRIPT))["Comparison"]
    assert comparison("unet", "resnet18", "bilinear", [1.2, 1.3, 9.0], [1.0, 1.0, 1.0]).over
    assert not comparison("unet", "resnet18", "bilinear", [1.0, 1.05, 9.0], [1.0, 1.0, 1.0]).over
    assert not comparison("unet", "resnet18", "pixelshuffle", [2.0], [1.0]).over
    assert comparison("linknet", "resnet18", "transposed 4×4", [2.0], [1.0]).over
