"""For long training on few images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpixel.augment.backend import A
from perpixel.augment.blur import Blur
from perpixel.augment.compression import Compression
from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.default import jitter_of
from perpixel.augment.grey import Grey
from perpixel.augment.noise import Noise
from perpixel.augment.ranges import amounts, probabilities
from perpixel.augment.recipe import Recipe
from perpixel.labels import PADDING_INDEX


class Strong(Recipe):
    """Wide scale and crop, flips, rotation, strong colours, and now and then blur, noise, JPEG or grey.

    Args:
        size: (H, W) of the result.
        scale: least and greatest factor of the random scale.
        focus: probability that a crop is laid around an object: class drawn evenly, then object, whatever the sizes.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        rotate: greatest angle in degrees, either way, applied to half of the samples.
        jitter: probability of changing the colours.
        brightness, contrast, saturation: greatest relative change, as 0.2 for 0.8…1.2.
        hue: greatest turn, as a part of the colour circle.
        degrade: probability of one of blur, noise and JPEG compression (of 8-bit grey and RGB alone).
        grey: probability of losing all colour.
        fill: mask value of padding and of the corners that rotation leaves empty.
        additional_targets: see ``Recipe``.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: Sequence[float] = (0.4, 2.5),
        focus: float = 0.0,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        rotate: float = 15.0,
        jitter: float = 0.9,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.08,
        degrade: float = 0.3,
        grey: float = 0.05,
        fill: int = PADDING_INDEX,
        additional_targets: Mapping[str, str] | None = None,
    ) -> None:
        probabilities(horizontal_flip=horizontal_flip, vertical_flip=vertical_flip, degrade=degrade, grey=grey)
        amounts(180, rotate=rotate)
        geometry = [
            RandomScaleCrop(size, scale, focus),
            A.HorizontalFlip(p=horizontal_flip),
            A.VerticalFlip(p=vertical_flip),
            A.Affine(rotate=(-rotate, rotate), shear=(-5, 5), p=0.5),
        ]
        colour = [
            *jitter_of(brightness, contrast, saturation, hue, jitter),
            Grey(p=grey),
            A.OneOf(_degradations(), p=degrade),
        ]
        super().__init__(size, fill, additional_targets, geometry=geometry, colour=colour)


def _degradations() -> list[A.BasicTransform]:
    return [
        Blur(sigma_limit=(0.5, 1.5)),
        Noise((0.02, 0.08), p=0.5),
        Compression(quality_range=(40, 90)),
    ]
