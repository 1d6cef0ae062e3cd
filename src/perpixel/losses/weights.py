"""Class weights: from a list as given, or from the training split's pixel counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from perpixel.labels import PixelCounts

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


def median_frequency(counts: PixelCounts) -> list[float]:
    """Median of the classes' frequencies over each class's own, 0 for a class without pixels (Eigen & Fergus 2015).

    A class's frequency is its share of the pixels of the images that show it.
    """
    frequencies = [pixels / room if pixels > 0 else 0.0 for pixels, room in zip(*counts, strict=True)]
    middle = median([frequency for frequency in frequencies if frequency > 0] or [0.0])
    return [middle / frequency if frequency > 0 else 0.0 for frequency in frequencies]


def effective_number(counts: PixelCounts, beta: float = PIXEL_BETA) -> list[float]:
    """(1 − β)/(1 − βⁿ) for a class of n pixels, scaled to mean 1 (Cui et al. 2019); 0 for a class without pixels.

    Raises:
        ValueError: β is not in 0…1 (1 excluded).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"class_weights=effective_number:{beta}: β lies between 0 and 1, and below 1.")
    raw = [_effective_weight(pixels, beta) if pixels > 0 else 0.0 for pixels in counts.pixels]
    present = [weight for weight in raw if weight > 0]
    return [weight * len(present) / sum(present) if weight > 0 else 0.0 for weight in raw]


def _effective_weight(pixels: int, beta: float) -> float:
    return (1 - beta) / -math.expm1(pixels * math.log(beta)) if beta > 0 else 1.0


def inverse_log(counts: PixelCounts) -> list[float]:
    """1/ln(1.02 + share of all pixels), 1.4…50 (Paszke et al. 2016, ENet); 0 for a class without pixels."""
    total = max(sum(counts.pixels), 1)
    return [1 / math.log(1.02 + pixels / total) if pixels > 0 else 0.0 for pixels in counts.pixels]


RULES: dict[str, Callable[..., list[float]]] = {
    "median_frequency": median_frequency,
    "effective_number": effective_number,
    "inverse_log": inverse_log,
}
"""Rules by the word that stands in a config; ``effective_number:0.99999`` gives β."""


def resolve(weights: ClassWeights, counts: Callable[[], PixelCounts]) -> list[float] | None:
    """The numbers that a config's ``class_weights`` means.

    Args:
        weights: none, a list, or the name of a rule in `RULES`.
        counts: of the training split; called only if a rule needs them.

    Raises:
        ValueError: see `parsed`.
    """
    rule, *beta = parsed(weights)
    if rule is not None:
        return RULES[rule](counts(), *beta)
    return None if weights is None or isinstance(weights, str) else [float(weight) for weight in weights]


def parsed(weights: ClassWeights) -> tuple[str | None, *tuple[float, ...]]:
    """The rule that a config's ``class_weights`` names, and its β if one is given; (None,) for numbers and none.

    Raises:
        ValueError: no such rule, or β is not in 0…1.
    """
    if weights is None or weights == "none" or not isinstance(weights, str):
        return (None,)
    rule, colon, beta = weights.partition(":")
    if rule not in RULES or (colon and rule != "effective_number"):
        raise ValueError(
            f"class_weights={weights} is no rule: use none, a list of numbers or one of {', '.join(RULES)}."
        )
    try:
        return (rule, float(beta)) if colon else (rule,)
    except ValueError:
        raise ValueError(
            f"class_weights={weights}: behind the colon stands β, a number from 0 to below 1, as in "
            "effective_number:0.99999."
        ) from None


def resolve_all(node: Mapping[str, Any], counts: Callable[[], PixelCounts]) -> dict[str, Any]:
    """A loss's config with every ``class_weights`` in it, in parts of sums as well, resolved; the rest as it is."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: resolve(v, counts) if k == "class_weights" else walk(v) for k, v in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    resolved: dict[str, Any] = walk(node)
    return resolved
