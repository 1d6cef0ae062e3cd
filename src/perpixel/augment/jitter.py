"""Colour jitter of grey and RGB at any depth; of 8-bit RGB at the price of a few passes over the pixels."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A, look_up
from perpixel.augment.depth import in_depth
from perpixel.augment.grey import GREY
from perpixel.augment.hue import turn_hues
from perpixel.spec import FULL_SCALE

Image = npt.NDArray[Any]


class ColourJitter(A.ColorJitter):
    """Brightness, contrast, saturation and hue in random order, as torchvision's ``ColorJitter``.

    Draws are albumentations'; so are the results, except that hues of 8-bit images are not kept in 8 bits, which moves
    theirs by up to a dozen levels, and the greys of contrast and saturation are not rounded. Each step saturates at
    black and white, as there. 16 bits get no coarser by it, and floats are not cut to 0…1: a sensor's values may be of
    any range.
    """

    needs_rgb: ClassVar[str] = "augment.saturation=0 augment.hue=0"

    def apply(
        self,
        img: Image,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        order: list[int],
        **params: Any,
    ) -> Image:
        """(H, W, C) → the same shape and dtype."""
        factors = (brightness, contrast, saturation, hue)
        if img.dtype != np.uint8 or img.shape[2] != 3:
            return _of_any_depth(img, factors, order)
        pixels = img.copy()
        for step in order:
            pixels = _STEPS[step](pixels, factors[step])
        return pixels


def _brighten(pixels: Image, factor: float) -> Image:
    return _scale(pixels, factor, 0.0)


def _stretch(pixels: Image, factor: float) -> Image:
    grey = float(np.dot(cv2.mean(pixels)[:3], GREY))  # half the time of a grey picture and its mean
    return _scale(pixels, factor, grey * (1 - factor))


def _scale(pixels: Image, factor: float, start: float) -> Image:
    levels = np.arange(256, dtype=np.float32) * np.float32(factor) + np.float32(start)
    return np.asarray(look_up(pixels, np.clip(levels, 0, 255).astype(np.uint8)))


def _saturated(pixels: Image, factor: float) -> Image:
    return np.asarray(cv2.transform(pixels, factor * np.eye(3) + (1 - factor) * GREY))


_STEPS = (_brighten, _stretch, _saturated, turn_hues)
"""Each may write over what it is given."""


def _of_any_depth(image: Image, factors: tuple[float, ...], order: list[int]) -> Image:
    """Grey or RGB, in floats; grey has no saturation and no hue."""
    scale = np.float32(FULL_SCALE[image.dtype.name])
    pixels = image.astype(np.float32) / scale
    for step in order:
        if image.shape[2] == 3 or step < _OF_COLOUR:
            pixels = _FLOAT_STEPS[step](pixels, factors[step])
        if image.dtype.kind != "f":
            pixels = np.clip(pixels, 0, 1)
    return in_depth(pixels * scale, image.dtype)


def _float_contrast(pixels: Image, factor: float) -> Image:
    weights = GREY if pixels.shape[2] == 3 else np.ones(1)
    grey = np.float32(pixels.mean(axis=(0, 1), dtype=np.float64) @ weights)
    return np.asarray(pixels * np.float32(factor) + grey * np.float32(1 - factor))


def _float_turned(pixels: Image, factor: float) -> Image:
    """Hues are those of the values above black, which lies at 0 or, of sensors that go below, at the lowest value."""
    black = np.minimum(pixels.min(), np.float32(0))
    hsv = cv2.cvtColor(pixels - black, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + np.float32(360 * factor)) % 360
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) + black)


_OF_COLOUR = 2
_FLOAT_STEPS = (lambda pixels, factor: pixels * np.float32(factor), _float_contrast, _saturated, _float_turned)
