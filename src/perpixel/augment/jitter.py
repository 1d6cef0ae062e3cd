"""Colour jitter of 8-bit RGB at the price of a few passes over the pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A, multiply, multiply_add

Image = npt.NDArray[Any]
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as torchvision and OpenCV weigh


class ColourJitter(A.ColorJitter):
    """Brightness, contrast, saturation and hue in random order, as torchvision's ``ColorJitter``.

    Draws are albumentations'; so are the results, except that 8-bit hues are turned in steps of 1/256 of the circle
    (theirs: 1/180) and the greys of saturation are not rounded. Each step saturates at black and white, as there.
    """

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
            return np.asarray(super().apply(img, *factors, order, **params))
        for step in order:
            img = _STEPS[step](img, factors[step])
        return img


def _brighter(image: Image, factor: float) -> Image:
    return np.asarray(multiply(image, factor))


def _contrast(image: Image, factor: float) -> Image:
    grey: float = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return np.asarray(multiply_add(image, factor, grey * (1 - factor)))


def _saturated(image: Image, factor: float) -> Image:
    return np.asarray(cv2.transform(image, factor * np.eye(3) + (1 - factor) * _GREY))


def _turned(image: Image, factor: float) -> Image:
    turn = round(factor * 256) % 256
    if turn == 0:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv += np.tile(np.array([turn, 0, 0], np.uint8), (image.shape[1], 1))  # bytes wrap around like hues
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


_STEPS = (_brighter, _contrast, _saturated, _turned)
