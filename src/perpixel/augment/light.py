"""Crops and mirror images: safe for nearly all data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpixel.augment.backend import A
from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.ranges import probabilities
from perpixel.augment.recipe import Recipe
from perpixel.labels import PADDING_INDEX


class Light(Recipe):
    """Random scale and crop, and flips; colours stay as they are.

    Args:
        size: (H, W) of the result.
        scale: least and greatest factor of the random scale.
        focus: probability that a crop is laid around an object: class drawn evenly, then object, whatever the sizes.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom; 0 where images have an up and a down.
        fill: mask value of padding.
        additional_targets: see ``Recipe``.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: Sequence[float] = (1.0, 1.0),
        focus: float = 0.0,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        fill: int = PADDING_INDEX,
        additional_targets: Mapping[str, str] | None = None,
    ) -> None:
        probabilities(horizontal_flip=horizontal_flip, vertical_flip=vertical_flip)
        geometry = [
            RandomScaleCrop(size, scale, focus),
            A.HorizontalFlip(p=horizontal_flip),
            A.VerticalFlip(p=vertical_flip),
        ]
        super().__init__(size, fill, additional_targets, geometry=geometry)
