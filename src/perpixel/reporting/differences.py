"""What is the same and what differs between nested mappings: configs, package versions, machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Several mappings, flattened to dotted keys, side by side.

    Attributes:
        common: keys with one value for all.
        differing: keys with the value of each mapping in turn, None where it lacks the key.
    """

    common: dict[str, str]
    differing: dict[str, tuple[str | None, ...]]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"optimizer": {"lr": 0.1}}`` → ``{"optimizer.lr": "0.1"}``; a list of plain values stays one value."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        children = _children(value)
        flat |= {name: _text(value)} if children is None else flatten(children, f"{name}.")
    return flat


def compare(trees: Sequence[Mapping[str, str]]) -> Comparison:
    """Compare flat mappings; keys keep the order in which they first appear."""
    keys = dict.fromkeys(key for tree in trees for key in tree)
    values = {key: tuple(tree.get(key) for tree in trees) for key in keys}
    common = {key: found[0] for key, found in values.items() if len(set(found)) == 1 and found[0] is not None}
    return Comparison(common, {key: found for key, found in values.items() if key not in common})


def _children(value: object) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping) and value:
        return value
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return {str(place): item for place, item in enumerate(value)}
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
