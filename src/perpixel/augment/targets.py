"""What a sample consists of besides image and mask, and how a recipe treats it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["image", "mask", "weight"]
"""``image``: geometry, bilinear, and none of the colour changes (a depth map or an infrared band has no hue).
``mask``: geometry, nearest; padding is filled as the mask's. ``weight``: the same, so that a pixel's weight stays with
its label, and 0 where the mask has none."""

Targets = dict[str, npt.NDArray[Any]]
"""Arrays of one sample by name: ``image``, ``mask`` and what else there is."""

KINDS = ("image", "mask", "weight")
_TAKEN = ("image", "mask", "name")


def checked_targets(targets: Mapping[str, str]) -> dict[str, str]:
    """Additional targets as they were given.

    Raises:
        ValueError: a kind is unknown, or a name is taken.
    """
    for name, kind in targets.items():
        if kind not in KINDS:
            raise ValueError(f"augment.additional_targets.{name}={kind!r}: choose one of {', '.join(KINDS)}.")
        if name in _TAKEN:
            raise ValueError(f"augment.additional_targets.{name}: the name is taken, choose another one.")
    return dict(targets)


def without_weight_outside(targets: Targets, kinds: Mapping[str, str], fill: int) -> Targets:
    """Weights become 0 where the mask has no label: what padding wrote there is no weight."""
    for name, kind in kinds.items():
        if kind == "weight" and name in targets:
            weight = targets[name]
            targets[name] = np.where(targets["mask"] == fill, weight.dtype.type(0), weight)
    return targets
