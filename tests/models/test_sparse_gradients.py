"""Gradients from their box against PyTorch's own."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from perpixel.analysis.shapes import describe, measure, measured
from perpixel.analysis.shapes.sparse import SparseGradients, nonzero_box
from perpixel.models import Bilinear, DySample, Encoder, NoEncoder, SegmentationModel, StarterUnet, Transposed, Unet
from perpixel.models.probe import evaluating

LAYERS = {
    "plain": nn.Conv2d(4, 6, 3, padding=1),
    "no padding": nn.Conv2d(4, 6, 3),
    "stride": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "stride beyond the kernel": nn.Conv2d(4, 6, 1, stride=2),
    "dilated": nn.Conv2d(4, 6, 3, padding=4, dilation=4),
    "depthwise": nn.Conv2d(4, 4, 5, padding=2, groups=4, stride=2),
    "rectangular": nn.Conv2d(4, 6, (1, 7), padding=(0, 3)),
    "transposed": nn.ConvTranspose2d(4, 6, 2, stride=2),
    "transposed, overlapping": nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
    "transposed, uneven": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
    "transposed, grouped": nn.ConvTranspose2d(4, 6, 3, stride=1, padding=2, groups=2, dilation=2),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("place", ["middle", "corner", "nowhere"])
def test_a_convolutions_gradient_from_its_box(name: str, place: str) -> None:
    image = torch.randn(2, 4, 17, 20, requires_grad=True)
    output = LAYERS[name](image)
    gradient = torch.zeros_like(output)
    box = {
        "middle": (slice(4, 6), slice(5, 8)),
        "corner": (slice(0, 2), slice(-3, None)),
        "nowhere": (slice(0), slice(0)),
    }
    gradient[..., *box[place]] = torch.randn_like(gradient[..., *box[place]])
    (expected,) = torch.autograd.grad(output, image, gradient, retain_graph=True)
    with SparseGradients():
        (found,) = torch.autograd.grad(output, image, gradient)
    torch.testing.assert_close(found, expected)


def test_the_box_is_the_smallest() -> None:
    gradient = torch.zeros(2, 3, 9, 9)
    assert nonzero_box(gradient) is None
    gradient[1, 2, 4, 7], gradient[0, 0, 6, 2] = -1e-20, 1.0
    assert nonzero_box(gradient) == (4, 6, 2, 7)


def test_a_pixels_gradient_is_computed_from_few_entries() -> None:
    """The point of it: convolutions see the box, not the map."""
    seen = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket.__name__ in ("convolution", "convolution_backward"):
                seen.append(args[0].numel())
            return func(*args, **(kwargs or {}))

    model = network("starter_unet")
    work = []
    for block in (contextlib.nullcontext, SparseGradients):
        image = torch.randn(1, 3, 128, 128, requires_grad=True)
        with evaluating(model):
            centre = model(image)[0, :, 64, 64].sum()
        seen.clear()
        with Watching(), block():
            torch.autograd.grad(centre, image)
        work.append(sum(seen))
    assert work[1] < work[0] / 2


def network(name: str) -> SegmentationModel:
    torch.manual_seed(0)
    if name == "starter_unet":
        return StarterUnet(NoEncoder(), Transposed(), 3, width=4)
    return Unet(Encoder("timm-tf_efficientnet_lite0"), DySample() if name == "dysample" else Bilinear(), 3)


@pytest.mark.parametrize("name", ["starter_unet", "bilinear", "dysample"])
def test_measured_fields_are_those_of_the_whole_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(name)
    stages = describe(model, 96, 70)
    measure(model, stages, 96, 70, images=1)
    sparse = [stage.measured for stage in stages]
    monkeypatch.setattr(measured, "SparseGradients", contextlib.nullcontext)
    measure(model, stages, 96, 70, images=1)
    assert sparse == [stage.measured for stage in stages]
    energies = []
    for block in (contextlib.nullcontext, SparseGradients):
        image = torch.randn(1, 3, 96, 70, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with evaluating(model):
            centre = model(image)[0, :, 48, 35].sum()
        with block():
            (gradient,) = torch.autograd.grad(centre, image)
        energies.append(gradient)
    torch.testing.assert_close(*energies, rtol=1e-4, atol=1e-6 * float(energies[0].abs().max()))
