"""What every model promises, for every upsampling. A new architecture or upsampling is one line in a list here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from perpixel.models import (
    FPN,
    Bilinear,
    DeepLabV3Plus,
    Encoder,
    Nearest,
    NoEncoder,
    PixelShuffle,
    Segformer,
    SegmentationModel,
    StarterUnet,
    Transposed,
    Unet,
    Upsampler,
    Upsampling,
)

CLASSES = 5
RESNET, MIT = Encoder("resnet18"), Encoder("mit_b0")

# name, how to build it, its 2× steps
MODELS: list[tuple[str, Callable[..., SegmentationModel], Encoder, dict[str, Any], int]] = [
    ("starter_unet", StarterUnet, NoEncoder(), {"width": 4}, 4),
    ("unet", Unet, RESNET, {"channels": (32, 16, 16, 8, 8)}, 5),
    ("unet-mit", Unet, MIT, {"channels": (32, 16, 16, 8, 8)}, 5),
    ("fpn", FPN, RESNET, {"pyramid_channels": 16, "segmentation_channels": 32}, 3 + 3 + 2 + 1 + 2),
    ("deeplabv3plus", DeepLabV3Plus, RESNET, {"channels": 16}, 2 + 2),
    ("deeplabv3plus-8", DeepLabV3Plus, RESNET, {"channels": 16, "output_stride": 8}, 1 + 2),
    ("segformer", Segformer, MIT, {"channels": 16}, 3 + 2 + 1 + 2),
    ("segformer-resnet", Segformer, RESNET, {"channels": 16}, 3 + 2 + 1 + 2),
]
UPSAMPLINGS: list[tuple[str, Upsampling]] = [
    ("bilinear", Bilinear()),
    ("nearest", Nearest()),
    ("transposed", Transposed()),
    ("transposed-bilinear", Transposed(kernel_size=4, init="bilinear")),
    ("pixelshuffle", PixelShuffle()),
]

each_model = pytest.mark.parametrize("model", [name for name, *_ in MODELS])
each_upsampling = pytest.mark.parametrize("upsampling", [name for name, _ in UPSAMPLINGS])


@lru_cache(maxsize=len(UPSAMPLINGS))
def make(model: str, upsampling: str, in_channels: int = 3) -> SegmentationModel:
    _, build, encoder, arguments, _ = next(row for row in MODELS if row[0] == model)
    torch.manual_seed(0)
    chosen = dict(UPSAMPLINGS)[upsampling]
    return build(encoder=encoder, upsampling=chosen, num_classes=CLASSES, in_channels=in_channels, **arguments)


def steps_of(model: str) -> int:
    return next(steps for name, *_, steps in MODELS if name == model)


def upsamplers(network: SegmentationModel) -> dict[str, Upsampler]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Upsampler)}


class Resizes(TorchDispatchMode):
    """Counts the operators that can raise a map's resolution, inside and outside our upsamplers."""

    NAMES = ("upsample_", "grid_sampler", "pixel_shuffle", "col2im")

    def __init__(self, network: SegmentationModel) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.outside: list[str] = []
        self.within = 0
        self.network = network

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        transposed = name.startswith("convolution") and "backward" not in name and args[6]
        if not self.within and (transposed or any(part in name for part in self.NAMES)):
            self.outside.append(name)
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Resizes:
        self.hooks = [hook for name, module in upsamplers(self.network).items() for hook in self._watch(name, module)]
        super().__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        for hook in self.hooks:
            hook.remove()

    def _watch(self, name: str, module: Upsampler) -> list[Any]:
        def entering(*_: Any) -> None:
            self.calls[name] += 1
            self.within += 1

        def leaving(*_: Any) -> None:
            self.within -= 1

        return [module.register_forward_pre_hook(entering), module.register_forward_hook(leaving)]


def encoder_hash(network: SegmentationModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


@each_model
@each_upsampling
@pytest.mark.parametrize(("height", "width"), [(33, 70), (64, 64)])
def test_logits_have_the_size_of_the_image(model: str, upsampling: str, height: int, width: int) -> None:
    network = make(model, upsampling).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, height, width)).shape == (2, CLASSES, height, width)


@each_model
@each_upsampling
def test_every_2x_step_is_the_chosen_upsampling_and_nothing_else_resizes(model: str, upsampling: str) -> None:
    network = make(model, upsampling).eval()
    with torch.no_grad():
        features = network.encoder(torch.randn(1, 3, 64, 64))
        with Resizes(network) as resizes:
            network.decode(features)
    assert resizes.outside == []
    assert resizes.calls.total() == steps_of(model)
    assert set(resizes.calls) == set(upsamplers(network)), "an upsampler is never called"


@each_model
@each_upsampling
def test_gradients_reach_every_upsampler_and_every_parameter(model: str, upsampling: str) -> None:
    network = make(model, upsampling).train()
    network.zero_grad()
    inputs: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: Any, args: tuple[torch.Tensor, ...]) -> None:
            inputs[name] = args[0]
            args[0].retain_grad()

        return hook

    hooks = [module.register_forward_pre_hook(keep(name)) for name, module in upsamplers(network).items()]
    torch.manual_seed(1)
    logits = network(torch.randn(2, 3, 64, 64))
    (logits * torch.randn_like(logits)).sum().backward()
    for hook in hooks:
        hook.remove()
    for name, module in upsamplers(network).items():
        assert inputs[name].grad is not None, name
        assert inputs[name].grad.abs().max() > 0, name
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None, f"{name}.{key}"
            assert parameter.grad.abs().max() > 0, f"{name}.{key}"
    # Distributed training stops at a parameter that takes no part in the loss.
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@each_model
def test_one_seed_gives_one_initialisation_whatever_the_upsampling(model: str) -> None:
    networks = [make(model, upsampling) for upsampling, _ in UPSAMPLINGS]
    assert len({encoder_hash(network) for network in networks}) == 1
    shared = set.intersection(*(set(network.state_dict()) for network in networks))
    for name in shared:
        if any(name.startswith(prefix) for network in networks for prefix in upsamplers(network)):
            continue
        values = [network.state_dict()[name] for network in networks]
        assert all(torch.equal(values[0], value) for value in values[1:]), name


@each_model
def test_upsampling_moves_no_random_stream(model: str) -> None:
    draws = []
    for upsampling, _ in UPSAMPLINGS:
        make.__wrapped__(model, upsampling)
        draws.append(torch.rand(1).item())
    assert len(set(draws)) == 1


@each_model
@pytest.mark.parametrize("channels", [1, 5])
def test_images_may_have_any_number_of_channels(model: str, channels: int) -> None:
    network = make(model, "bilinear", channels).eval()
    with torch.no_grad():
        assert network(torch.randn(1, channels, 64, 64)).shape == (1, CLASSES, 64, 64)


@each_model
def test_encoder_decoder_and_head_hold_all_parameters(model: str) -> None:
    network = make(model, "transposed")
    parts = [network.encoder, network.decoder, network.head]
    assert sum(p.numel() for part in parts for p in part.parameters()) == sum(p.numel() for p in network.parameters())
