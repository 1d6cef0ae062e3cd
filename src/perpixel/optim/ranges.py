"""Bounds of plain numbers of a config."""

from __future__ import annotations

import math


def within(key: str, value: float, low: float, high: float, meaning: str) -> float:
    """The value, if it is finite and lies between ``low`` and ``high``, both included.

    Raises:
        ValueError: it does not; names the key of the config.
    """
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f"{low:g} or more" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{key}={value}: {meaning} is {bounds}.")
    return value
