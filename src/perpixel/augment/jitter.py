"""Colour jitter of grey and RGB at any depth; of 8-bit RGB at the price of a few passes over the pixels."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A, multiply, multiply_add
from perpixel.augment.depth import FULL_SCALE, in_depth
from perpixel.augment.grey import GREY

Image = npt.NDArray[Any]


class ColourJitter(A.ColorJitter):
    """Brightness, contrast, saturation and hue in random order, as torchvision's ``ColorJitter``.

    Draws are albumentations'; so are the results, except that 8-bit hues are turned in steps of 1/256 of the circle
    (theirs: 1/180) and the greys of contrast and saturation are not rounded. Each step saturates at black and white, as
    there. 16 bits get no coarser by it, and floats are not cut to 0…1: a sensor's values may be of any range.
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
        for step in order:
            img = _STEPS[step](img, factors[step])
        return img


def _brighter(image: Image, factor: float) -> Image:
    return np.asarray(multiply(image, factor))


def _contrast(image: Image, factor: float) -> Image:
    grey = float(np.dot(cv2.mean(image)[:3], GREY))  # half the time of a grey picture and its mean
    return np.asarray(multiply_add(image, factor, grey * (1 - factor)))


def _saturated(image: Image, factor: float) -> Image:
    return np.asarray(cv2.transform(image, factor * np.eye(3) + (1 - factor) * GREY))


def _turned(image: Image, factor: float) -> Image:
    turn = round(factor * 256) % 256
    if turn == 0:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv += np.tile(np.array([turn, 0, 0], np.uint8), (image.shape[1], 1))  # bytes wrap around like hues
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


_STEPS = (_brighter, _contrast, _saturated, _turned)


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
