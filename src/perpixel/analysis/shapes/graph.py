"""What a network computes from what: every tensor operation of one forward pass, recorded without numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from perpixel.models.probe import evaluating


@dataclass(frozen=True)
class Operation:
    """One tensor operation.

    Attributes:
        name: PyTorch's, such as "convolution".
        arguments: as called.
        inputs: tensors that depend on the image.
        outputs: tensors that it gives.
        parameters: names of the parameters that it uses.
        macs: multiply–accumulates; 0 for what is no convolution or matrix product. Those that prepared its weights (a
            product of two of them, say) are counted where the result is first used.
    """

    name: str
    arguments: tuple[Any, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: frozenset[str]
    macs: int


class Recording(TorchDispatchMode):
    """Records the operations that depend on an image.

    Args:
        image: the network's input.
        state: the network's tensors by name.

    Attributes:
        operations: in the order of execution. Tensors stay referenced, so their ids stay theirs.
    """

    def __init__(self, image: Tensor, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._dependent = {id(image)}
        self._constants = {id(tensor): frozenset([name]) for name, tensor in state.items()}
        self._prepared: dict[int, int] = {}
        self._kept: list[Any] = [image, state]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run the operation and note it."""
        output = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = tuple(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        used = frozenset[str]().union(*(self._constants.get(id(tensor), frozenset()) for tensor in inputs))
        dependent = tuple(tensor for tensor in inputs if id(tensor) in self._dependent)
        self._kept.append(outputs)
        macs = multiply_accumulates(func, args, kwargs or {}, output)
        macs += sum(self._prepared.pop(id(tensor), 0) for tensor in inputs)
        if dependent:
            # A skip that is switched off is a map of no channels: what holds no number depends on nothing.
            self._dependent.update(id(tensor) for tensor in outputs if tensor.numel())
            self.operations.append(Operation(func.overloadpacket.__name__, args, dependent, outputs, used, macs))
        else:
            self._constants.update((id(tensor), used) for tensor in outputs)
            self._prepared.update((id(tensor), macs) for tensor in outputs[:1])
        return output


def multiply_accumulates(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> int:
    """By PyTorch's own formulas, which count a multiply–accumulate as two operations."""
    formula = flop_registry.get(func.overloadpacket)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=output)) // 2


def record(network: nn.Module, image: Tensor) -> Recording:
    """Run a network on a meta image in evaluation mode, and record its operations."""
    state = {name: tensor.detach().to("meta") for name, tensor in _tensors(network)}
    recording = Recording(image, state)
    with torch.no_grad(), evaluating(network), recording:
        torch.func.functional_call(network, state, (image,))
    return recording


def count_macs(network: nn.Module, images: Tensor) -> int:
    """Multiply–accumulates of a forward pass in evaluation mode, as ``shapes`` counts them; nothing is computed.

    Args:
        network: it is left in the mode in which it came.
        images: (B, C, H, W); only their shape and dtype matter.
    """
    return sum(operation.macs for operation in record(network, torch.empty_like(images, device="meta")).operations)


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
