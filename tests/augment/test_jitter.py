"""Colour jitter against torchvision's, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from perpixel.augment import hue
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
        *(("hue", turn) for turn in (-0.5, -0.3, -0.1, 0.0, 0.03, 0.17, 0.25, 0.4)),
    ],
)
def test_each_step_is_torchvisions(name: str, factor: float) -> None:
    image = picture()
    ours = ColourJitter(p=1).apply(image, **STILL | {name: factor}, order=[ORDER[name]]).astype(int)
    theirs = PEERS[name](torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1


def on_the_hexagon(image: np.ndarray, turn: float) -> np.ndarray:
    """Hues turned by HSV's definition, in float64: channels are value − chroma · (a function of the hue)."""
    pixels = image.astype(np.float64)
    most, least = pixels.max(axis=2), pixels.min(axis=2)
    chroma = most - least
    red, green, blue = np.moveaxis(pixels, 2, 0)
    hue = np.select([most == red, most == green], [green - blue, blue - red], red - green) / np.maximum(chroma, 1)
    hue += np.select([most == red, most == green], [0, 2], 4) + 6 * turn
    steps = [(place + hue) % 6 for place in (5, 3, 1)]
    return np.stack([most - chroma * np.clip(np.minimum(step, 4 - step), 0, 1) for step in steps], axis=2)


@pytest.mark.parametrize("shape", [(257, 173), (1, 4913), (3, 1 << 18)], ids=["strips", "a row", "wider than a strip"])
@pytest.mark.parametrize("sixths", [0, 0.18, -0.18, 0.5, -0.5, 0.7, 1, 1.3, 2, -2.4, 3, 3.3, 4, -4.6, 5, 5.5, 6, 7.2])
def test_hues_are_turned_to_half_a_level(
    sixths: float, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hue, "STRIP", 1 << 12)
    levels = [*range(0, 256, 16), 255]
    colours = np.array([*itertools.product(levels, levels, levels)], np.uint8)  # greys, and ties of two channels, too
    image = np.resize(colours, (*shape, 3))
    pixels = image.copy()
    hue.turn_hues(pixels, sixths / 6)
    assert np.abs(pixels - on_the_hexagon(image, sixths / 6)).max() <= 0.5 + 1e-9


def test_an_image_that_is_jittered_is_not_written_to() -> None:
    image = picture()
    image.setflags(write=False)
    for order in itertools.permutations(range(4)):
        ColourJitter(p=1).apply(image, brightness=1.2, contrast=0.8, saturation=1.3, hue=0.1, order=[*order])


def test_draws_are_those_of_albumentations() -> None:
    image = picture()
    ours, theirs = ColourJitter(hue=(-0.05, 0.05), p=1), A.ColorJitter(hue=(-0.05, 0.05), p=1)
    for seed in range(10):
        for jitter in (ours, theirs):
            jitter.set_random_seed(seed)
        first, second = (jitter(image=image)["image"].astype(int) for jitter in (ours, theirs))
        assert np.abs(first - second).mean() < 3


@pytest.mark.parametrize("full", [65535, 1], ids=["16 bits", "float"])
@pytest.mark.parametrize(
    ("name", "factor"),
    [("brightness", 1.3), ("contrast", 0.6), ("contrast", 1.5), ("saturation", 1.4), ("hue", 0.2), ("hue", -0.4)],
)
def test_deep_images_are_jittered_as_torchvision_does_and_no_coarser(full: int, name: str, factor: float) -> None:
    unit = picture().astype(np.float32) / 255
    image = np.rint(unit * full).astype(np.uint16) if full > 1 else unit
    ours = ColourJitter(p=1).apply(image, **STILL | {name: factor}, order=[ORDER[name]])
    theirs = PEERS[name](torch.from_numpy(unit).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
    assert ours.dtype == image.dtype
    assert np.abs(np.clip(ours / full, 0, 1) - theirs).max() < 1e-3


def test_grey_has_brightness_and_contrast_alone() -> None:
    grey = picture()[..., :1]
    jitter = ColourJitter(p=1)
    changed = jitter.apply(grey, **STILL | {"saturation": 1.9, "hue": 0.3}, order=[2, 3, 0, 1])
    np.testing.assert_array_equal(changed, grey)
    darker = jitter.apply(grey, **STILL | {"brightness": 0.5}, order=[0, 1, 2, 3])
    np.testing.assert_allclose(darker, grey * 0.5, atol=0.5)


@pytest.mark.parametrize("name", [*ORDER])
def test_a_sensors_floats_are_jittered_in_their_own_range(name: str) -> None:
    """As the same picture in 0…1, times 1500; and values below zero are no obstacle."""
    unit, factor = picture().astype(np.float32) / 255, 0.2 if name == "hue" else 1.4
    jitter = ColourJitter(p=1)
    small, large = (jitter.apply(unit * s, **STILL | {name: factor}, order=[ORDER[name]]) for s in (1, 1500))
    np.testing.assert_allclose(large, small * 1500, rtol=1e-3, atol=0.5)
    below = jitter.apply(unit - 0.5, **STILL | {name: factor}, order=[ORDER[name]])
    assert np.isfinite(below).all()
    assert below.min() < 0
