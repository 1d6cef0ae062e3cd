"""What is wrong with a loss's config, told before data are read and pixels counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perpixel.labels import PixelCounts
from perpixel.losses.sum import sum_fault
from perpixel.losses.weights import resolve


def config_faults(node: Any) -> list[str]:
    """Faults of a plain config's rules of class weights and weights of sums, in parts of sums as well.

    Args:
        node: a mapping with ``_target_``, or anything in it.
    """
    if isinstance(node, list):
        return [fault for item in node for fault in config_faults(item)]
    if not isinstance(node, Mapping):
        return []
    found = config_faults(list(node.values()))
    try:
        resolve(node.get("class_weights"), lambda: PixelCounts([1], [1]))
    except ValueError as error:
        found.append(f"loss: {error}")
    if "losses" in node and "weights" in node and (fault := sum_fault(node["losses"], node["weights"])):
        found.append(f"loss: {fault}")
    return found
