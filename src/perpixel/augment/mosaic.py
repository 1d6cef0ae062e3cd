"""Four images in one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perpixel.augment.mixing import Mixing
from perpixel.augment.recipe import Recipe
from perpixel.augment.targets import Targets


class Mosaic(Mixing):
    """Put four samples around a random centre, a quarter plane of each (Bochkovskiy et al. 2020, YOLOv4).

    Args:
        recipe: what every sample goes through first.
        p: probability of mixing.
        margin: least part of either side that each quarter keeps.
    """

    def __init__(self, recipe: Recipe, p: float = 0.5, margin: float = 0.25) -> None:
        super().__init__(recipe, p)
        if not 0 <= margin <= 0.5:
            raise ValueError(f"augment.margin={margin} must be within 0…0.5.")
        self.margin = margin

    def mix(self, targets: Targets, partner: Callable[[], Targets], rng: np.random.Generator) -> Targets:
        """Replace three quarters by three partners'."""
        row, column = (round(rng.uniform(self.margin, 1 - self.margin) * side) for side in self.size)
        mixed = {name: array.copy() for name, array in targets.items()}
        for area in (np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]):
            other = partner()
            for name, array in mixed.items():
                array[area] = other[name][area]
        return mixed
