"""Recipes that mix a sample with others of the data set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from perpixel.augment.recipe import Image, Mask, Recipe

Pair = tuple[Image, Mask]


class Mixing(Recipe):
    """Another recipe, and then, now and then, a mixture with samples that went through it too.

    Partners come from the whole data set and are drawn from the sample's own generator, so a mixture is a function of
    (seed, epoch, position) like any sample, whatever the batch.

    Args:
        recipe: what every sample goes through first.
        p: probability of mixing.
    """

    def __init__(self, recipe: Recipe, p: float) -> None:
        super().__init__(
            recipe.size, recipe.fill, recipe.additional_targets, geometry=recipe.geometry, colour=recipe.colour
        )
        if not 0 <= p <= 1:
            raise ValueError(f"augment.p={p} must be a probability.")
        self.p = p

    def sample(self, image: Image, mask: Mask, rng: np.random.Generator, another: Callable[[], Pair]) -> Pair:
        """Augment a sample, and mix it with probability ``p``."""
        image, mask = self(image, mask, rng)
        if rng.random() >= self.p:
            return image, mask
        return self.mix(image, mask, lambda: self(*another(), rng), rng)

    @abstractmethod
    def mix(self, image: Image, mask: Mask, partner: Callable[[], Pair], rng: np.random.Generator) -> Pair:
        """Mix an augmented sample with augmented partners, each a new draw. The arguments may be written to."""
