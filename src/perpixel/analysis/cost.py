"""What a network costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_accumulates(model: nn.Module, images: Tensor) -> int:
    """Multiply–accumulates of a forward pass in evaluation mode: convolutions and matrix products (half their FLOPs).

    Args:
        model: the network; it is left in the mode in which it came.
        images: (B, C, H, W) as the network takes them.
    """
    training = model.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.inference_mode(), counter:
            model.eval()(images)
    finally:
        model.train(training)
    return counter.get_total_flops() // 2
