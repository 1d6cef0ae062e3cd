"""Class weights: from a list as given, or from the training split's pixel counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

ClassWeights = Sequence[float] | str | None
"""One number per class, or none (None or the word). Names of rules are resolved by `resolve` before a loss is built."""

PIXEL_BETA = 1 - 1e-6
"""β of `effective_number` when none is given. Cui et al. count images and use 0.9…0.9999; of pixels there are so many
more that with those values every class would weigh the same."""


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


def median_frequency(counts: Sequence[int]) -> list[float]:
    """Median of the classes' frequencies over each class's own (Eigen & Fergus 2015); 0 for a class without pixels."""
    middle = median([count for count in counts if count > 0] or [0])
    return [middle / count if count > 0 else 0.0 for count in counts]


def effective_number(counts: Sequence[int], beta: float = PIXEL_BETA) -> list[float]:
    """(1 − β)/(1 − βⁿ) for a class of n pixels, scaled to mean 1 (Cui et al. 2019); 0 for a class without pixels.

    Raises:
        ValueError: β is not in 0…1 (1 excluded).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"effective_number needs beta in 0…1, below 1, not {beta}.")
    raw = [
        (1 - beta) / -math.expm1(count * math.log(beta)) if beta > 0 else 1.0 for count in map(_at_least_one, counts)
    ]
    present = [weight for weight, count in zip(raw, counts, strict=True) if count > 0]
    mean = sum(present) / len(present) if present else 1.0
    return [weight / mean if count > 0 else 0.0 for weight, count in zip(raw, counts, strict=True)]


def inverse_log(counts: Sequence[int]) -> list[float]:
    """1/ln(1.02 + frequency), between 1.4 and 50 (Paszke et al. 2016, ENet); 0 for a class without pixels."""
    total = max(sum(counts), 1)
    return [1 / math.log(1.02 + count / total) if count > 0 else 0.0 for count in counts]


RULES: dict[str, Callable[..., list[float]]] = {
    "median_frequency": median_frequency,
    "effective_number": effective_number,
    "inverse_log": inverse_log,
}
"""Rules by the word that stands in a config; ``effective_number:0.99999`` gives β."""


def resolve(weights: ClassWeights, counts: Callable[[], Sequence[int]]) -> list[float] | None:
    """The numbers that a config's ``class_weights`` means.

    Args:
        weights: none, a list, or the name of a rule in `RULES`.
        counts: gives the training split's pixels per class; called only if a rule needs them.

    Raises:
        ValueError: no such rule, or β is not a number.
    """
    if weights is None or weights == "none":
        return None
    if not isinstance(weights, str):
        return [float(weight) for weight in weights]
    rule, _, beta = weights.partition(":")
    if rule not in RULES or (beta and rule != "effective_number"):
        raise ValueError(
            f"class_weights={weights} is no rule: use none, a list of numbers or one of {', '.join(RULES)}."
        )
    return RULES[rule](counts(), *([float(beta)] if beta else []))


def resolve_all(node: Mapping[str, Any], counts: Callable[[], Sequence[int]]) -> dict[str, Any]:
    """A loss's config with every ``class_weights`` in it, in parts of sums as well, resolved; the rest as it is."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: resolve(v, counts) if k == "class_weights" else walk(v) for k, v in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    resolved: dict[str, Any] = walk(node)
    return resolved


def _at_least_one(count: int) -> int:
    return max(count, 1)
