"""The network as an exported graph holds it: images in 0…1 of full scale in, logits out, normalisation inside."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from perpixel.bundle import ModelBundle

EXAMPLE = (2, 150, 203)
"""Batch, H and W that a graph of free sizes is traced with: sizes that every stride has to pad, as none pads otherwise
(where nothing is padded, tracing forgets the padding), and a batch above 1, which tracing would keep as a constant."""


class AnySizeAverage(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as two matrix products, whose weights follow from the size of the map.

    ONNX has no adaptive pooling: the exporter unrolls it for the traced size, and the graph is wrong or fails at any
    other. Region i of n covers the rows ⌊i·H/n⌋ … ⌈(i+1)·H/n⌉ − 1, as torch defines it.

    Args:
        regions: rows and columns of the result.

    Shapes: (B, C, H, W) → (B, C, *regions).
    """

    def __init__(self, regions: tuple[int, int]) -> None:
        super().__init__()
        self.regions = regions

    def forward(self, features: Tensor) -> Tensor:
        rows = _shares(self.regions[0], features.shape[-2], features)
        columns = _shares(self.regions[1], features.shape[-1], features)
        return rows @ features @ columns.T


def _shares(regions: int, size: int, like: Tensor) -> Tensor:
    """(regions, size): what each row or column of a map counts in each region; the shares of a region sum to 1."""
    region = torch.arange(regions, device=like.device).unsqueeze(1)
    place = torch.arange(size, device=like.device)
    start, stop = region * size // regions, ((region + 1) * size + regions - 1) // regions
    inside = (place >= start) & (place < stop)
    return inside.to(like.dtype) / (stop - start).to(like.dtype)


class DeployedNetwork(nn.Module):
    """A bundle's network in float32, on the CPU, as it is exported.

    It holds the arithmetic of :class:`perpixel.spec.Normalise`; auxiliary heads are left out.

    Shapes: (B, C, H, W) float32 in 0…1 of full scale → (B, K, H, W) float32 logits.
    """

    slope: Tensor
    start: Tensor

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        self.network = copy.deepcopy(bundle.model).cpu().float()
        self.network.aux = None
        for module in list(self.network.modules()):
            _make_exportable(module)
        std = torch.tensor(bundle.spec.normalise.std)
        self.register_buffer("slope", (1 / std).view(1, -1, 1, 1))
        self.register_buffer("start", (torch.tensor(bundle.spec.normalise.mean) / std).view(1, -1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images * self.slope - self.start)
        return logits


def _make_exportable(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d) and (regions := _pair(child.output_size)) != (1, 1):
            setattr(module, name, AnySizeAverage(regions))


def _pair(size: object) -> tuple[int, int]:
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return int(rows), int(columns)


def fixed_size(bundle: ModelBundle, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """(H, W) that the exported graph takes, or None where it takes any size.

    Args:
        bundle: what is exported; an architecture with ``export_limits`` gets a fixed size.
        size: what the user asked for; None takes the size of the training samples where one is needed.
    """
    if size is None and bundle.model.export_limits is None:
        return None
    return size or bundle.spec.train_size


def trace(bundle: ModelBundle, size: tuple[int, int] | None) -> torch.export.ExportedProgram:
    """The graph of a bundle's network, of any batch; of any H and W, too, where ``size`` is None.

    Raises:
        ValueError: torch.export cannot follow the network; says what to do.
    """
    batch, height, width = (EXAMPLE[0], *size) if size else EXAMPLE
    example = torch.rand(batch, bundle.spec.in_channels, height, width, generator=torch.Generator().manual_seed(0))
    free = torch.export.Dim.DYNAMIC
    dynamic = {0: free} if size else {0: free, 2: free, 3: free}
    try:
        with torch.no_grad():
            return torch.export.export(DeployedNetwork(bundle), (example,), dynamic_shapes=(dynamic,))
    except Exception as error:  # of many kinds, none of them common to all
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        remedy = "" if size else f" Give a fixed size, as in export.size={list(bundle.spec.train_size)}."
        raise ValueError(f"torch.export cannot follow this network: {reason}{remedy}") from error
