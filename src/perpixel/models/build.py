"""From config nodes to a network."""

from __future__ import annotations

from typing import Any

from perpixel.config import build
from perpixel.models.base import SegmentationModel
from perpixel.models.encoder import Encoder
from perpixel.models.upsampling import Upsampling


def build_network(nodes: Any, num_classes: int, in_channels: int, **replaced: Any) -> SegmentationModel:
    """A network, initialised from the present random state.

    Args:
        nodes: a mapping with the nodes ``model``, ``encoder`` and ``decoder``: a config, or a spec's.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        replaced: built objects in place of the nodes', such as ``upsampling``.

    Raises:
        ConfigError: a node names something of another kind, or arguments that it does not take.
    """
    parts: dict[str, Any] = {
        "encoder": build(nodes["encoder"], Encoder, "encoder"),
        "upsampling": build(nodes["decoder"], Upsampling, "decoder"),  # type: ignore[type-abstract]
        "num_classes": num_classes,
        "in_channels": in_channels,
    }
    return build(nodes["model"], SegmentationModel, "model", **{**parts, **replaced})
