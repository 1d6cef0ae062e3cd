"""A rectangle of another image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perpixel.augment.mixing import Mixing
from perpixel.augment.recipe import Recipe
from perpixel.augment.targets import Targets


class CutMix(Mixing):
    """Replace a random rectangle, image and mask, by another sample's (Yun et al. 2019; French et al. 2020).

    Args:
        recipe: what every sample goes through first.
        p: probability of mixing.
        alpha: the rectangle's share of the area is drawn from Beta(alpha, alpha); 1 is uniform.
    """

    def __init__(self, recipe: Recipe, p: float = 0.5, alpha: float = 1.0) -> None:
        super().__init__(recipe, p)
        if alpha <= 0:
            raise ValueError(f"augment.alpha={alpha} must be above 0.")
        self.alpha = alpha

    def mix(self, targets: Targets, partner: Callable[[], Targets], rng: np.random.Generator) -> Targets:
        """Paste one partner's rectangle."""
        side = np.sqrt(rng.beta(self.alpha, self.alpha))
        height, width = (round(side * length) for length in self.size)
        top, left = rng.integers(self.size[0] - height + 1), rng.integers(self.size[1] - width + 1)
        area = np.s_[top : top + height, left : left + width]
        mixed, other = {name: array.copy() for name, array in targets.items()}, partner()
        for name, array in mixed.items():
            array[area] = other[name][area]
        return mixed
