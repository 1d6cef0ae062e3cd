"""Scans and microscopy: soft tissue, grey values that mean something, any number of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpixel.augment.backend import A
from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.default import jitter_of
from perpixel.augment.noise import Noise
from perpixel.augment.ranges import amounts, probabilities
from perpixel.augment.recipe import Recipe
from perpixel.labels import PADDING_INDEX


class Medical(Recipe):
    """Small rotations, scale and elastic deformation (Ronneberger et al. 2015), brightness, contrast and noise.

    Args:
        size: (H, W) of the result.
        scale: least and greatest factor of the random scale.
        focus: probability that a crop is laid around an object: class drawn evenly, then object, whatever the sizes.
        horizontal_flip, vertical_flip: probabilities; 0 where sides matter (the heart is on the left).
        rotate: greatest angle in degrees, either way.
        elastic: probability of elastic deformation.
        displacement: its strength: the displacements' standard deviation before smoothing, in pixels.
        jitter: probability of changing brightness and contrast.
        brightness, contrast: greatest relative change.
        noise: probability of Gaussian noise.
        fill: mask value of padding and of what deformation leaves empty.
        additional_targets: see ``Recipe``.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: Sequence[float] = (0.8, 1.25),
        focus: float = 0.5,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        rotate: float = 15.0,
        elastic: float = 0.3,
        displacement: float = 60.0,
        jitter: float = 0.5,
        brightness: float = 0.15,
        contrast: float = 0.15,
        noise: float = 0.2,
        fill: int = PADDING_INDEX,
        additional_targets: Mapping[str, str] | None = None,
    ) -> None:
        probabilities(horizontal_flip=horizontal_flip, vertical_flip=vertical_flip, elastic=elastic, noise=noise)
        amounts(180, rotate=rotate)
        amounts(displacement=displacement)
        geometry = [
            RandomScaleCrop(size, scale, focus),
            A.HorizontalFlip(p=horizontal_flip),
            A.VerticalFlip(p=vertical_flip),
            A.Affine(rotate=(-rotate, rotate), p=0.5),
            A.ElasticTransform(alpha=displacement, sigma=8, p=elastic),
        ]
        colour = [*jitter_of(brightness, contrast, 0, 0, jitter), Noise((0.01, 0.05), p=noise)]
        super().__init__(size, fill, additional_targets, geometry=geometry, colour=colour)
