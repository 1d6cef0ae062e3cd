"""Which feature maps a module gives, and what they are called."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def feature_maps(output: Any) -> list[Tensor]:
    """The (B, C, H, W) tensors in what a module gives: a map, a list of maps, or maps among other things.

    A vision transformer gives its prefix tokens beside its maps, Mask2Former's decoder its attentions.
    """
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.ndim == 4]


def named_maps(name: str, output: Any) -> dict[str, Tensor]:
    """The maps under the module's name, or "<name>.<i>" where it gives them in a structure."""
    if isinstance(output, Tensor):
        return {name: output} if output.ndim == 4 else {}
    return {f"{name}.{index}": each for index, each in enumerate(feature_maps(output))}
