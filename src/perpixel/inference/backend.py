"""What runs a trained network: PyTorch here, exported formats elsewhere, all behind one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from perpixel.spec import ModelSpec

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TRUE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


class Backend(Protocol):
    """A network that is ready to run."""

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 images in 0…1 of full scale → (B, K, H, W) logits. Normalising is its first step."""
        ...


class TorchBackend:
    """A PyTorch network as a backend.

    Args:
        model: normalised images → logits; it is set to evaluation mode and moved to the device.
        spec: normalisation and memory format.
        device: where it runs, ``cpu`` or ``cuda:0`` for example.
        precision: Lightning's name, ``32-true`` for example; None takes the precision of the spec on a GPU and
            ``32-true`` on a CPU, where 16 bits are often slower.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, device: str = "cpu", precision: str | None = None) -> None:
        self.device = torch.device(device)
        self.precision = precision or (spec.precision if self.device.type != "cpu" else "32-true")
        self.normalise = spec.normalise
        self.memory_format = torch.channels_last if spec.channels_last else torch.contiguous_format
        self.dtype = _TRUE.get(self.precision, torch.float32)
        self.model = model.eval().to(self.device, self.dtype).to(memory_format=self.memory_format)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`Backend`; the logits lie on the backend's device, in its precision."""
        ready = self.normalise(images.to(self.device)).to(self.dtype)
        with self._autocast():
            logits: Tensor = self.model(ready.contiguous(memory_format=self.memory_format))
        return logits

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = _AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()


class Ensemble:
    """Several backends as one: the mean of their probabilities.

    Its logits are the logarithms of the mean probabilities, so that their softmax is the mean.

    Args:
        members: backends with the same classes in the same order.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, members: Sequence[Backend]) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one model.")
        self.members = tuple(members)

    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`Backend`."""
        total = sum(member(images).float().softmax(dim=1).cpu() for member in self.members)
        assert isinstance(total, Tensor)
        return (total / len(self.members)).clamp_min(torch.finfo(torch.float32).tiny).log()
