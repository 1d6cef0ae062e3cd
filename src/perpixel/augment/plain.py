"""No augmentation beyond what makes a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpixel.augment.crop import RandomScaleCrop
from perpixel.augment.recipe import Recipe
from perpixel.labels import PADDING_INDEX


class Plain(Recipe):
    """Cut every sample to one size at a random place, or pad it; the pixels stay as they are.

    Images that have the size already come through untouched.
    """

    def __init__(
        self,
        size: Sequence[int],
        fill: int = PADDING_INDEX,
        additional_targets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(size, fill, additional_targets, geometry=[RandomScaleCrop(size)])
