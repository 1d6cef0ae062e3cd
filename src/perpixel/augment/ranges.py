"""Arguments of recipes that must lie in a range."""

from __future__ import annotations

from collections.abc import Sequence


def probabilities(**given: float) -> None:
    """Refuse probabilities outside 0…1, by their keys.

    Raises:
        ValueError: names the first, and what a percentage would be.
    """
    for name, value in given.items():
        if not 0 <= value <= 1:
            percent = f"; {value:g} % is augment.{name}={value / 100:g}" if 1 < value <= 100 else ""
            raise ValueError(f"augment.{name}={value} must be a probability, from 0 (never) to 1 (always){percent}.")


def amounts(most: float = float("inf"), **given: float) -> None:
    """Refuse greatest changes below 0 or above ``most``, by their keys.

    Raises:
        ValueError: names the first, and the range.
    """
    for name, value in given.items():
        if not 0 <= value <= most:
            upper = f"within 0…{most:g}" if most != float("inf") else "0 (no change) or more"
            raise ValueError(f"augment.{name}={value} is the greatest change, either way: give a number {upper}.")


def two_factors(name: str, given: Sequence[float]) -> tuple[float, float]:
    """[least, greatest] of a factor.

    Raises:
        ValueError: it is something else.
    """
    if len(given) != 2 or not 0 < given[0] <= given[1]:
        raise ValueError(
            f"augment.{name}={list(given)} must be [least, greatest] factor, both above 0, as augment.{name}=[0.5,2]."
        )
    return float(given[0]), float(given[1])
