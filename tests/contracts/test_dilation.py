"""Every encoder that can be dilated holds the undilated one: the identity of the algorithme à trous."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from omegaconf import OmegaConf
from tests.uninitialised import Uninitialised
from torch import Tensor, nn

from perpixel.config.paths import conf_dir
from perpixel.models import LRASPP, PAN, Bilinear, DeepLabV3, DeepLabV3Plus, Encoder, PSPNet
from perpixel.models.dilation import dilate

ENCODERS = sorted(path.stem for path in (conf_dir() / "encoder").glob("*.yaml") if path.stem != "none")
TRANSFORMERS = [name for name in ENCODERS if name.startswith(("mit_", "dino"))]
LARGE = ("efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "resnet50", "resnet101")
CONVOLUTIONAL = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in ENCODERS if name not in TRANSFORMERS
]
OTHERS = [
    "tu-tf_efficientnet_lite0",  # TensorFlow's padding, computed in forward
    "efficientnet-b0",  # the same, computed once
    "tu-resnet18d",  # averages before it subsamples
    "tu-resnetblur18",  # blurs before it subsamples
    "tu-regnety_002",
    "se_resnet50",
    "dpn68",
    "mobileone_s0",
]
each_stride = pytest.mark.parametrize("output_stride", [16, 8])


def configured(name: str) -> Encoder:
    """The encoder of a YAML, or of a name, with random weights."""
    file = conf_dir() / "encoder" / f"{name}.yaml"
    return Encoder(OmegaConf.load(file).name if file.is_file() else name)


@lru_cache(maxsize=1)
def undilated(name: str) -> tuple[nn.Module, Tensor, list[Tensor], dict[str, Tensor]]:
    """A network whose statistics are not those of an untrained one, an image, its maps, and its gates by name."""
    with Uninitialised():
        network = configured(name).build().eval()
    fill(network)
    images = torch.randn(1, 3, 64, 64)
    gates: dict[str, Tensor] = {}
    maps = watched(network, images, lambda name, output: gates.setdefault(name, output) if one_pixel(output) else None)
    return network, images, maps, gates


@torch.no_grad()
def fill(network: nn.Module) -> None:
    """Weights that keep a signal's size, and the statistics of a trained network: one draw serves all, to be quick."""
    torch.manual_seed(0)
    noise = torch.randn(1 << 16)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            drawn = noise.repeat(-(-tensor.numel() // len(noise)))[: tensor.numel()].reshape(tensor.shape)
            scale = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.2
            positive = tensor.ndim == 1 and name.endswith(("weight", "running_var"))
            tensor.copy_(drawn * scale + float(positive))
            tensor.clamp_(min=0.2) if positive else None


def one_pixel(output: Tensor) -> bool:
    """Whether it is what squeeze-and-excitation makes of a whole map; the maps themselves have four pixels or more."""
    return output.shape[-2:] == (1, 1)


@torch.no_grad()
def watched(network: nn.Module, images: Tensor, see: Callable[[str, Tensor], Tensor | None]) -> list[Tensor]:
    """The network's maps; where ``see(a convolution's name, its output)`` gives a tensor, that is its output."""
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: see(name, output))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    maps: list[Tensor] = network(images)
    for hook in hooks:
        hook.remove()
    return maps


def error(dense: Tensor, coarse: Tensor) -> float:
    """How far the dense map, at the coarse one's pixels, is from it."""
    step = dense.shape[-1] // coarse.shape[-1]
    return float((dense[..., ::step, ::step] - coarse).norm() / coarse.norm().clamp(min=1e-12))


@each_stride
@pytest.mark.parametrize("name", [*CONVOLUTIONAL, *OTHERS])
def test_a_dilated_encoder_holds_the_undilated_ones_maps(name: str, output_stride: int) -> None:
    network, images, coarse, gates = undilated(name)
    with Uninitialised():
        dilated = configured(name).build(output_stride=output_stride).eval()
    dilated.load_state_dict(network.state_dict())
    dense = watched(dilated, images, lambda name, _: gates.get(name))
    assert [64 // each.shape[-2] for each in dense] == [min(2**level, output_stride) for level in range(6)]
    assert max(map(error, dense, coarse)) <= 1e-5


@each_stride
@pytest.mark.parametrize("name", [*TRANSFORMERS, "tu-botnet26t_256", "tu-lambda_resnet26t"])
def test_an_encoder_without_a_dilated_form_says_so(name: str, output_stride: int) -> None:
    reasons = rf"cannot be built with output_stride={output_stride}: its .* is attention between pixels|model=dpt"
    with Uninitialised(), pytest.raises(ValueError, match=reasons):
        configured(name).build(output_stride=output_stride)


def test_weights_are_the_same_for_every_output_stride() -> None:
    states = []
    for output_stride in (32, 16, 8):
        torch.manual_seed(0)
        states.append(configured("efficientnet_lite0").build(output_stride=output_stride).state_dict())
    for state in states[1:]:
        assert list(state) == list(states[0])
        assert all(torch.equal(tensor, states[0][name]) for name, tensor in state.items())


class Pooling(nn.Module):
    """An encoder of one layer that subsamples."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 16, stride=16)
        self.layer = layer

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layer(self.stem(images))]


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
        nn.AvgPool2d(3, 2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(2, 2, (3, 1), stride=2, padding=(1, 0)),
        nn.Conv2d(2, 2, 4, stride=2, padding=1),
    ],
)
@torch.no_grad()
def test_layers_of_any_window_are_dilated(layer: nn.Module) -> None:
    network, images = Pooling(layer), torch.randn(1, 1, 128, 96)
    (coarse,) = network(images)
    dilate(network, in_channels=1, output_stride=8)
    (dense,) = network(images)
    assert dense.shape[-2:] == (16, 12)
    assert error(dense, coarse) <= 1e-6


class Subsampling(nn.Module):
    """Subsamples by indexing: no module tells of it."""

    def forward(self, features: Tensor) -> Tensor:
        return features[..., ::2, ::2]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.LPPool2d(2, 2), "its layer is a LPPool2d, which has no dilated form here"),
        (nn.Conv2d(2, 2, 3, stride=2, padding=1, padding_mode="reflect"), "its layer pads by padding_mode=reflect"),
        (Subsampling(), "its maps become 1/16 instead of 1/8 at the coarsest"),
    ],
)
def test_what_has_no_dilated_form_is_refused(layer: nn.Module, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        dilate(Pooling(layer), in_channels=1, output_stride=8)


@pytest.mark.parametrize("model", [DeepLabV3, DeepLabV3Plus])
@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_atrous_rates_follow_the_output_stride_as_in_the_papers(
    model: type, output_stride: int, rates: tuple[int, ...]
) -> None:
    """Chen et al. 2017 and 2018: 6, 12, 18 at 1/16, doubled at 1/8."""
    build = lambda **options: model(  # noqa: E731
        Encoder("resnet18"), Bilinear(), 3, output_stride=output_stride, channels=8, **options
    )
    assert dilations(build()) == dilations(build(atrous_rates=None)) == list(rates)
    assert dilations(build(atrous_rates=(2, 3, 5))) == [2, 3, 5]


def dilations(network: nn.Module) -> list[int]:
    convs = [module for module in network.decoder.modules() if isinstance(module, nn.Conv2d)]
    return [conv.dilation[0] for conv in convs if conv.dilation != (1, 1)]


@pytest.mark.parametrize(
    ("model", "output_stride"),
    [(DeepLabV3, 8), (DeepLabV3Plus, 16), (DeepLabV3Plus, 8), (PSPNet, 8), (PAN, 16), (LRASPP, 16)],
)
def test_models_take_the_dilated_encoder(model: type, output_stride: int) -> None:
    network = model(Encoder("resnet18"), Bilinear(), 3, output_stride=output_stride, channels=8).eval()
    whole = Encoder("resnet18").build().eval()
    whole.load_state_dict(network.encoder.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert max(map(error, network.encoder(images), whole(images))) <= 1e-5
