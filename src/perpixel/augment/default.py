"""The field's usual recipe: scale, crop, mirror, colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpixel.augment.backend import A
from perpixel.augment.brightness import BrightnessContrast
from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.jitter import ColourJitter
from perpixel.augment.ranges import amounts, probabilities
from perpixel.augment.recipe import Recipe
from perpixel.labels import PADDING_INDEX


class Default(Recipe):
    """Random scale 0.5–2 and crop, horizontal flip, colour jitter (as DeepLab's and Mask2Former's street recipes).

    Args:
        size: (H, W) of the result.
        scale: least and greatest factor of the random scale.
        focus: probability that a crop is laid around an object: class drawn evenly, then object, whatever the sizes.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        jitter: probability of changing the colours.
        brightness, contrast, saturation: greatest relative change, as 0.2 for 0.8…1.2.
        hue: greatest turn, as a part of the colour circle.
        fill: mask value of padding.
        additional_targets: see ``Recipe``.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: Sequence[float] = (0.5, 2.0),
        focus: float = 0.0,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        jitter: float = 0.8,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.03,
        fill: int = PADDING_INDEX,
        additional_targets: Mapping[str, str] | None = None,
    ) -> None:
        probabilities(horizontal_flip=horizontal_flip, vertical_flip=vertical_flip)
        geometry = [
            RandomScaleCrop(size, scale, focus),
            A.HorizontalFlip(p=horizontal_flip),
            A.VerticalFlip(p=vertical_flip),
        ]
        colour = jitter_of(brightness, contrast, saturation, hue, jitter)
        super().__init__(size, fill, additional_targets, geometry=geometry, colour=colour)


def jitter_of(brightness: float, contrast: float, saturation: float, hue: float, p: float) -> list[A.BasicTransform]:
    """Colour jitter for any number of channels; saturation and hue are RGB's alone, and set to 0 they are left out."""
    probabilities(jitter=p)
    amounts(brightness=brightness, contrast=contrast, saturation=saturation)
    amounts(0.5, hue=hue)
    if saturation == hue == 0:
        return [BrightnessContrast(brightness, contrast, p=p)]
    return [ColourJitter(*(_around(x) for x in (brightness, contrast, saturation)), hue=(-hue, hue), p=p)]


def _around(change: float) -> tuple[float, float]:
    return (max(0.0, 1 - change), 1 + change)
