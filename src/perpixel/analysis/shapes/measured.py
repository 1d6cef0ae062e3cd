"""Which part of the image an output pixel does listen to: the measured receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perpixel.analysis.shapes.sparse import SparseGradients
from perpixel.analysis.shapes.stages import Stage, device_of, stage_modules
from perpixel.models.base import SegmentationModel
from perpixel.models.maps import feature_maps, named_maps
from perpixel.models.probe import evaluating, observing

ENERGY = 0.95
"""Share of the gradient energy that the reported square holds."""


def measure(
    model: SegmentationModel, stages: Sequence[Stage], height: int, width: int, in_channels: int = 3, images: int = 4
) -> None:
    """Fill in each stage's measured receptive field (Luo et al. 2016, "effective receptive field").

    For random images the gradient of a map's centre (all channels, with random signs) with respect to the image is
    squared and averaged; the smallest centred square with 95 % of that energy is the field. It lies in the theoretical
    one, up to one pixel: the square stands around the map's pixel, and the kernels of a network may lie half a pixel
    beside it.

    Args:
        stages: rows of :func:`perpixel.analysis.shapes.stages.describe` for the same size; changed in place.
        images: how many random images are averaged.
    """
    generator = torch.Generator().manual_seed(0)
    energies = {stage.name: torch.zeros(height, width) for stage in stages}
    with evaluating(model):
        for _ in range(images):
            image = (
                torch.randn(1, in_channels, height, width, generator=generator).to(device_of(model)).requires_grad_()
            )
            for name, output in stage_outputs(model, image).items():
                if name in energies:
                    energies[name] += centre_energy(output, image, generator)
    for stage in stages:
        stage.measured = energy_side(energies[stage.name], stage.stride, (stage.height, stage.width))


def stage_outputs(model: SegmentationModel, image: Tensor) -> dict[str, Tensor]:
    """The maps of all stages for an image, by name."""
    names = stage_modules(model)
    outputs: dict[str, Tensor] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if module is model.encoder:
            outputs.update(named_maps("encoder", feature_maps(output)))
        elif module in names:
            outputs.update(named_maps(names[module], output))

    # Rectifiers that work in place would overwrite maps that gradients are taken of.
    with observing(model, note), out_of_place(model):
        model(image)
    return outputs


def out_of_place(model: nn.Module) -> Any:
    """A block in which no module of the model works in place."""
    return _OutOfPlace(model)


class _OutOfPlace:
    def __init__(self, model: nn.Module) -> None:
        self.modules = [module for module in model.modules() if getattr(module, "inplace", False) is True]

    def __enter__(self) -> None:
        for module in self.modules:
            setattr(module, "inplace", False)  # noqa: B010 - for mypy, modules have tensors and modules only

    def __exit__(self, *_: object) -> None:
        for module in self.modules:
            setattr(module, "inplace", True)  # noqa: B010


def centre_energy(output: Tensor, image: Tensor, generator: torch.Generator) -> Tensor:
    """(H, W): squared gradient of a map's centre with respect to the image, summed over the image's channels."""
    _, channels, height, width = output.shape
    signs = torch.randint(0, 2, (channels,), generator=generator).mul(2).sub(1).to(output)
    centre = (output[0, :, height // 2, width // 2] * signs).sum()
    with SparseGradients():
        (gradient,) = torch.autograd.grad(centre, image, retain_graph=True)
    return gradient[0].square().sum(0).cpu()


def energy_side(energy: Tensor, stride: float, size: tuple[int, int], share: float = ENERGY) -> int:
    """Side of the smallest square around a map's centre that holds a share of the energy.

    Args:
        energy: (H, W) over the image.
        stride: of the map.
        size: height and width of the map.
    """
    rows, columns = (_distance(n, m // 2, stride) for n, m in zip(energy.shape, size, strict=True))
    distance = torch.maximum(rows[:, None], columns[None, :]).flatten()
    order = distance.argsort()
    cumulative = energy.flatten().double()[order].cumsum(0)
    index = int(torch.searchsorted(cumulative, share * cumulative[-1]))
    side = 2 * float(distance[order[min(index, len(order) - 1)]]) + 1
    return round(min(side, max(energy.shape)))


def _distance(pixels: int, index: int, stride: float) -> Tensor:
    """Of each image pixel from the centre of a map's pixel ``index``, along one axis."""
    return (torch.arange(pixels) - ((index + 0.5) * stride - 0.5)).abs()
