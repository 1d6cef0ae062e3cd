"""Images from above: no up and no down, any number of bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpixel.augment.backend import A
from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.default import jitter_of
from perpixel.augment.recipe import Recipe
from perpixel.labels import PADDING_INDEX


class Satellite(Recipe):
    """All eight turns and mirrorings alike, a little scale (the ground resolution is known), and brightness.

    Args:
        size: (H, W) of the result; where it is not square, only mirrorings and the half turn keep it.
        scale: least and greatest factor of the random scale.
        focus: probability that a crop is laid around an object: class drawn evenly, then object, whatever the sizes.
        brightness, contrast: greatest relative change.
        jitter: probability of changing brightness and contrast.
        fill: mask value of padding.
        additional_targets: see ``Recipe``.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: Sequence[float] = (0.8, 1.25),
        focus: float = 0.0,
        jitter: float = 0.5,
        brightness: float = 0.15,
        contrast: float = 0.15,
        fill: int = PADDING_INDEX,
        additional_targets: Mapping[str, str] | None = None,
    ) -> None:
        turns = [A.D4(p=1.0)] if size[0] == size[1] else [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
        super().__init__(
            size,
            fill,
            additional_targets,
            geometry=[RandomScaleCrop(size, scale, focus), *turns],
            colour=jitter_of(brightness, contrast, 0, 0, jitter),
        )
