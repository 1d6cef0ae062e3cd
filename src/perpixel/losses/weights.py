"""Class weights: from a list as given, or from the training split's pixel counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ClassWeights = Sequence[float] | str | None
"""One number per class, or none (None or the word). Names of rules are resolved by `resolve` before a loss is built."""


def as_buffer(weights: ClassWeights) -> Tensor | None:
    """The weights as a loss keeps them: (C,) float32, or None.

    Raises:
        ValueError: the name of a rule that nobody resolved, or numbers that are negative or not finite.
    """
    if weights is None or weights == "none":
        return None
    if isinstance(weights, str):
        raise ValueError(
            f"class_weights={weights} needs the training split's pixel counts: "
            "pass numbers, or let perpixel.losses.weights.resolve turn the counts into them."
        )
    values = torch.as_tensor(list(weights), dtype=torch.float32)
    if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
        raise ValueError(f"class_weights must be finite numbers ≥ 0, but are {list(weights)}.")
    return values
