"""From stored pixels to what a backend takes."""

from __future__ import annotations

import torch
from torch import Tensor

from perpixel.spec import FULL_SCALE


def to_unit_range(images: Tensor) -> Tensor:
    """(B, C, H, W) in a stored depth (uint8, uint16, float32) → float32 in 0…1 of full scale, channels last in memory.

    The result is always a new tensor.
    """
    scale = full_scale(images)
    pixels = images.permute(0, 2, 3, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    if scale != 1:
        pixels.div_(scale)
    return pixels.permute(0, 3, 1, 2)


def full_scale(images: Tensor) -> float:
    """The stored value that counts as 1, from the dtype."""
    return FULL_SCALE[str(images.dtype).removeprefix("torch.")]
