"""Colour jitter against torchvision's, step by step."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from perpixel.augment.backend import A
from perpixel.augment.jitter import ColourJitter

ORDER = {"brightness": 0, "contrast": 1, "saturation": 2, "hue": 3}
PEERS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
}
STILL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def picture() -> np.ndarray:
    rough = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (128, 96), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        *((name, factor) for name in ("brightness", "contrast", "saturation") for factor in (0.0, 0.5, 0.9, 1.0, 1.8)),
        *(("hue", turn) for turn in (-0.5, -0.1, 0.0, 0.03, 0.25)),
    ],
)
def test_each_step_is_torchvisions(name: str, factor: float) -> None:
    image = picture()
    ours = ColourJitter(p=1).apply(image, **STILL | {name: factor}, order=[ORDER[name]]).astype(int)
    theirs = PEERS[name](torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(ours - theirs)
    assert difference.mean() < 1
    assert difference.max() <= (12 if name == "hue" else 1)  # hues are kept in 8 bits


def test_draws_are_those_of_albumentations() -> None:
    image = picture()
    ours, theirs = ColourJitter(hue=(-0.05, 0.05), p=1), A.ColorJitter(hue=(-0.05, 0.05), p=1)
    for seed in range(10):
        for jitter in (ours, theirs):
            jitter.set_random_seed(seed)
        first, second = (jitter(image=image)["image"].astype(int) for jitter in (ours, theirs))
        assert np.abs(first - second).mean() < 3


@pytest.mark.parametrize("image", [picture().astype(np.float32) / 255, picture()[..., :1]], ids=["float", "grey"])
def test_what_is_not_8_bit_rgb_is_left_to_albumentations(image: np.ndarray) -> None:
    factors = {"brightness": 0.9, "contrast": 1.1, "saturation": 1.2, "hue": 0.1}
    ours, theirs = (kind(p=1).apply(image, **factors, order=[2, 0, 3, 1]) for kind in (ColourJitter, A.ColorJitter))
    np.testing.assert_array_equal(ours, theirs)
