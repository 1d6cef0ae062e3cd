"""Recipes that mix a sample with others of the data set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from perpixel.augment.ranges import probabilities
from perpixel.augment.recipe import Recipe
from perpixel.augment.targets import Targets


class Mixing(Recipe):
    """Another recipe, and then, now and then, a mixture with samples that went through it too.

    Partners come from the whole data set and are drawn from the sample's own generator, so a mixture is a function of
    (seed, epoch, position) like any sample, whatever the batch.

    Args:
        recipe: what every sample goes through first.
        p: probability of mixing.

    Raises:
        ValueError: the recipe is a mixture itself, or none; or ``p`` is out of its range.
    """

    def __init__(self, recipe: Recipe, p: float) -> None:
        if isinstance(recipe, Mixing) or not isinstance(recipe, Recipe):  # of a mixture only its recipe would be used
            raise ValueError(
                f"augment.recipe={recipe if isinstance(recipe, str) else type(recipe).__name__}: a mixture goes over a "
                "recipe that mixes nothing itself. Choose one as in augment@augment.recipe=satellite."
            )
        super().__init__(
            recipe.size, recipe.fill, recipe.additional_targets, geometry=recipe.geometry, colour=recipe.colour
        )
        probabilities(p=p)
        self.p = p

    def sample(self, targets: Targets, rng: np.random.Generator, another: Callable[[], Targets]) -> Targets:
        """Augment a sample, and mix it with probability ``p``."""
        augmented = self.apply(targets, rng)
        if rng.random() >= self.p:
            return augmented
        return self.mix(augmented, lambda: self.apply(another(), rng), rng)

    @abstractmethod
    def mix(self, targets: Targets, partner: Callable[[], Targets], rng: np.random.Generator) -> Targets:
        """Mix an augmented sample with augmented partners, each a new draw: image, mask and all else alike."""
