"""Running a network on shapes alone: PyTorch's meta device has sizes and no numbers, so it is fast at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Observer = Callable[[nn.Module, tuple[Any, ...], Any], None]


def run_on_meta(network: nn.Module, *inputs: Tensor) -> Any:
    """The network's output for meta tensors, in evaluation mode and without gradients; its own tensors stay put.

    Args:
        inputs: tensors on the meta device.
    """
    named = [*network.named_parameters(), *network.named_buffers()]
    state = {name: tensor.detach().to("meta") for name, tensor in named}
    with torch.no_grad(), evaluating(network):
        return torch.func.functional_call(network, state, inputs)


def meta_images(channels: int, height: int = 64, width: int = 64) -> Tensor:
    """(1, channels, height, width) without numbers."""
    return torch.empty(1, channels, height, width, device="meta")


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, every module's own mode after it."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def observing(network: nn.Module, observer: Observer) -> Iterator[None]:
    """Call ``observer(module, inputs, output)`` after each forward pass of each module of the network."""
    hooks = [module.register_forward_hook(observer) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
