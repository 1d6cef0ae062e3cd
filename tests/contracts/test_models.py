"""What every model promises, for every upsampling. A new architecture or upsampling is one line in a list here."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tests.uninitialised import Uninitialised
from torch.utils._python_dispatch import TorchDispatchMode

from perpixel.analysis.shapes import describe
from perpixel.config.paths import conf_dir
from perpixel.models import (
    DPT,
    FCN,
    FPN,
    LRASPP,
    PAN,
    Bilinear,
    DeepLabV3,
    DeepLabV3Plus,
    DySample,
    Encoder,
    EoMT,
    Linear,
    Linknet,
    MANet,
    Mask2Former,
    Nearest,
    NoEncoder,
    PixelShuffle,
    PSPNet,
    Segformer,
    SegmentationModel,
    SegmentationOutput,
    StarterUnet,
    Transposed,
    Unet,
    UnetPlusPlus,
    UPerNet,
    Upsampler,
    Upsampling,
)
from perpixel.models.maps import feature_maps
from perpixel.models.probe import meta_images, run_on_meta

CLASSES = 5
RESNET, MIT, VIT = Encoder("resnet18"), Encoder("mit_b0"), Encoder("vit_tiny_patch16_224")
TINY, TINY_VIT = Encoder("test_efficientnet"), Encoder("test_vit")
SLIM = {"channels": (32, 16, 16, 8, 8)}

# name, how to build it, its 2× steps
MODELS: list[tuple[str, Callable[..., SegmentationModel], Encoder, dict[str, Any], int]] = [
    ("starter_unet", StarterUnet, NoEncoder(), {"width": 4}, 4),
    ("unet", Unet, RESNET, SLIM, 5),
    ("unet-mit", Unet, MIT, SLIM, 5),
    ("unet-efficientnet", Unet, Encoder("efficientnet-b0"), SLIM, 5),
    ("unet-lite", Unet, Encoder("timm-tf_efficientnet_lite0"), SLIM, 5),
    ("unet-shallow", Unet, RESNET, {"depth": 3, "channels": (32, 16, 8)}, 3),
    ("unet-shallow-efficientnet", Unet, Encoder("efficientnet_b0"), {"depth": 3, "channels": (32, 16, 8)}, 3),
    ("unet-shallow-mobilenet", Unet, Encoder("mobilenet_v2"), {"depth": 4, "channels": (32, 16, 8, 8)}, 4),
    ("unetplusplus", UnetPlusPlus, RESNET, SLIM, 4 + 3 + 2 + 1 + 1),
    ("manet", MANet, RESNET, SLIM, 5),
    ("linknet", Linknet, RESNET, {}, 5),
    ("linknet-mit", Linknet, MIT, {}, 5),
    ("fcn-32s", FCN, RESNET, {"variant": "32s", "hidden": 16}, 5),
    ("fcn-16s", FCN, RESNET, {"variant": "16s", "hidden": 16}, 5),
    ("fcn-8s", FCN, RESNET, {"variant": "8s", "hidden": 16}, 5),
    ("fpn", FPN, RESNET, {"pyramid_channels": 16, "segmentation_channels": 32}, 3 + 3 + 2 + 1 + 2),
    ("pan", PAN, RESNET, {"channels": 8}, 3 + 2 + 2),
    ("pan-32", PAN, MIT, {"channels": 8, "output_stride": 32}, 3 + 3 + 2),
    ("deeplabv3plus", DeepLabV3Plus, RESNET, {"channels": 16}, 2 + 2),
    ("deeplabv3plus-8", DeepLabV3Plus, RESNET, {"channels": 16, "output_stride": 8}, 1 + 2),
    ("upernet", UPerNet, RESNET, {"channels": 16}, 3 + 3 + 2 + 1 + 2),
    ("segformer", Segformer, MIT, {"channels": 16}, 3 + 2 + 1 + 2),
    ("segformer-resnet", Segformer, RESNET, {"channels": 16}, 3 + 2 + 1 + 2),
    ("lraspp", LRASPP, TINY, {"channels": 16}, 1 + 3),
    ("lraspp-32", LRASPP, TINY, {"channels": 16, "output_stride": 32}, 2 + 3),
    ("linear", Linear, TINY_VIT, {"frozen": False}, 4),
    ("linear-pyramid", Linear, TINY, {"frozen": False, "batch_norm": False}, 3 + 2),
    ("dpt", DPT, VIT, {"intermediate_channels": (8, 8, 16, 16), "channels": 8}, 2 + 1 + 4 + 1),
]
# Models whose decoder upsamples no features: they take decoder=bilinear, for their logits, and refuse the others.
WITHOUT_STEPS: list[tuple[str, Callable[..., SegmentationModel], Encoder, dict[str, Any], int]] = [
    ("pspnet", PSPNet, RESNET, {"channels": 16}, 3),
    ("deeplabv3", DeepLabV3, RESNET, {"channels": 16}, 3),
]
# Predicts masks, not pixels: its training output is no logits, and its only resize is of the masks.
MASKS: list[tuple[str, Callable[..., SegmentationModel], Encoder, dict[str, Any], int]] = [
    (
        "mask2former",
        Mask2Former,
        RESNET,
        {"queries": 6, "channels": 32, "heads": 2, "pixel_layers": 1, "decoder_layers": 2},
        0,
    ),
    ("eomt", EoMT, TINY_VIT, {"queries": 6, "blocks": 2}, 0),
]
ALL = [*MODELS, *WITHOUT_STEPS, *MASKS]
FIRST_OF_EACH = {row[1]: row for row in reversed(ALL)}.values()
# Interpolations of pooled regions (a pyramid of 1, 2², 3², 6² averages), which no upsampling can stand for.
POOLED_REGIONS = {"upernet": 4, "pspnet": 4}
UPSAMPLINGS: list[tuple[str, Upsampling]] = [
    ("bilinear", Bilinear()),
    ("nearest", Nearest()),
    ("transposed", Transposed()),
    ("transposed-4", Transposed(kernel_size=4)),
    ("transposed-random", Transposed(init="random")),
    ("pixelshuffle", PixelShuffle()),
    ("dysample", DySample()),
]

each_model = pytest.mark.parametrize("model", [name for name, *_ in MODELS])
any_model = pytest.mark.parametrize("model", [name for name, *_ in ALL])
each_upsampling = pytest.mark.parametrize("upsampling", [name for name, _ in UPSAMPLINGS])


@lru_cache(maxsize=len(UPSAMPLINGS))
def make(model: str, upsampling: str, in_channels: int = 3) -> SegmentationModel:
    _, build, encoder, arguments, _ = next(row for row in ALL if row[0] == model)
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
    assert len(resizes.outside) == POOLED_REGIONS.get(model, 0), resizes.outside
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
    width = 512 if model.startswith("pan") else 64  # where its innermost map is one pixel, DySample has nowhere to move
    logits = network(torch.randn(2, 3, 64, width))
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
def test_one_seed_gives_one_initialisation_and_one_random_stream_whatever_the_upsampling(model: str) -> None:
    states, own, draws = [], set(), []
    for upsampling, _ in UPSAMPLINGS:
        network = make.__wrapped__(model, upsampling)
        draws.append(torch.rand(1).item())
        states.append(network.state_dict())
        own |= {f"{name}." for name in upsamplers(network)}
    assert len(set(draws)) == 1
    shared = [name for name in set.intersection(*map(set, states)) if not name.startswith(tuple(own))]
    assert {name for state in states for name in state if name.startswith("encoder.")} <= set(shared)
    for name in shared:
        assert all(torch.equal(states[0][name], state[name]) for state in states[1:]), name


@any_model
@pytest.mark.parametrize("channels", [1, 5])
def test_images_may_have_any_number_of_channels(model: str, channels: int) -> None:
    network = make(model, "bilinear", channels).eval()
    with torch.no_grad():
        assert network(torch.randn(1, channels, 70, 50)).shape == (1, CLASSES, 70, 50)


@any_model
def test_encoder_decoder_and_head_hold_all_parameters(model: str) -> None:
    network = make(model, "bilinear")
    parts = [network.encoder, network.decoder, network.head]
    assert sum(p.numel() for part in parts for p in part.parameters()) == sum(p.numel() for p in network.parameters())


# Parameters of one 2× step of i to o channels; those without weights need a 1×1 convolution where i is not o.
def projection(i: int, o: int) -> int:
    return 0 if i == o else i * o + o


ADDED: dict[str, Callable[[int, int], int]] = {
    "bilinear": projection,
    "nearest": projection,
    "transposed": lambda i, o: 2 * 2 * i * o + o,
    "transposed-4": lambda i, o: 4 * 4 * i * o + o,
    "transposed-random": lambda i, o: 2 * 2 * i * o + o,
    "pixelshuffle": lambda i, o: i * 4 * o + 4 * o,
    "dysample": lambda i, o: projection(i, o) + (o + 1) * 2 * 4 * math.gcd(4, o),
}


@each_model
@each_upsampling
def test_an_upsampling_adds_the_parameters_of_its_steps_and_no_others(model: str, upsampling: str) -> None:
    network = make(model, upsampling)
    own = {name for step in upsamplers(network) for name in network.state_dict() if name.startswith(f"{step}.")}
    rest = sum(p.numel() for name, p in network.named_parameters() if name not in own)
    added = sum(p.numel() for p in network.parameters()) - rest
    widths, others = steps_and_rest(model)
    assert added == sum(ADDED[upsampling](i, o) for i, o in widths)
    assert rest == others


@lru_cache
def steps_and_rest(model: str) -> tuple[list[tuple[int, int]], int]:
    """Channels into and out of each 2× step of a model, and the parameters of all the rest; both hold for any step."""
    network = make.__wrapped__(model, "bilinear").eval()
    widths: list[tuple[int, int]] = []

    def note(_: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        widths.append((args[0].shape[1], output.shape[1]))

    hooks = [step.register_forward_hook(note) for step in upsamplers(network).values()]
    run_on_meta(network, meta_images(3))
    for hook in hooks:
        hook.remove()
    steps = sum(p.numel() for step in upsamplers(network).values() for p in step.parameters())
    return widths, sum(p.numel() for p in network.parameters()) - steps


@pytest.mark.parametrize(("model", "factor"), [(name, steps) for name, *_, steps in WITHOUT_STEPS])
def test_without_feature_steps_only_the_logits_are_interpolated(model: str, factor: int) -> None:
    network = make(model, "bilinear").eval()
    with torch.no_grad():
        features = network.encoder(torch.randn(1, 3, 64, 64))
        with Resizes(network) as resizes:
            network.decode(features)
        assert network(torch.randn(2, 3, 33, 70)).shape == (2, CLASSES, 33, 70)
    assert all(name.startswith("head.") for name in resizes.calls)
    assert resizes.calls.total() == factor
    assert len(resizes.outside) == POOLED_REGIONS.get(model, 0)


@pytest.mark.parametrize("model", [name for name, *_ in [*WITHOUT_STEPS, *MASKS]])
@pytest.mark.parametrize("upsampling", [name for name, _ in UPSAMPLINGS if name != "bilinear"])
def test_where_there_is_nothing_to_replace_the_reason_is_given(model: str, upsampling: str) -> None:
    with pytest.raises(ValueError, match=rf"model={model} has nothing that decoder=\w+ could replace: .* Use decoder"):
        make.__wrapped__(model, upsampling)


# Auxiliary heads: a stage of every kind of model.
AUX_STAGES = {
    "starter_unet": "decoder.blocks.1",
    "unet-shallow": "encoder.3",
    "unet-shallow-efficientnet": "encoder.3",
    "unetplusplus": "decoder.blocks.x_1_3",
    "dpt": "encoder.2",
    "linear": "encoder.0",
    "eomt": "encoder.0",
}


@any_model
def test_auxiliary_heads_speak_in_training_only(model: str) -> None:
    _, build, encoder, arguments, _ = next(row for row in ALL if row[0] == model)
    aux = {"weight": 0.4, "stages": [AUX_STAGES.get(model, "encoder.4")]}
    torch.manual_seed(0)
    network = build(encoder=encoder, upsampling=Bilinear(), num_classes=CLASSES, aux=aux, **arguments)
    assert encoder_hash(network) == encoder_hash(make.__wrapped__(model, "bilinear"))
    images = torch.randn(2, 3, 70, 64)
    output = network.train()(images)
    assert isinstance(output, SegmentationOutput)
    assert [each.shape for each in output.aux] == [(2, CLASSES, 70, 64)]
    assert model in ("mask2former", "eomt") or output.logits.shape == (2, CLASSES, 70, 64)
    sum(each.square().mean() for each in output.aux).backward()
    assert network.aux is not None
    assert all(parameter.grad is not None for parameter in network.aux.parameters())
    copy.deepcopy(network)  # as EMA does
    with torch.no_grad():
        assert isinstance(network.eval()(images), torch.Tensor)


@pytest.mark.parametrize("model", [name for name, *_ in FIRST_OF_EACH])
def test_any_decoder_stage_takes_an_auxiliary_head(model: str) -> None:
    """By its name in ``shapes``; of every decoder that with the most channels."""
    _, build, encoder, arguments, _ = next(row for row in ALL if row[0] == model)
    decoder = [stage for stage in describe(make(model, "bilinear"), 64, 64) if stage.part == "decoder"]
    stage = max(decoder, key=lambda stage: stage.channels)
    aux = {"weight": 0.4, "stages": [stage.name]}
    network = build(encoder=encoder, upsampling=Bilinear(), num_classes=CLASSES, aux=aux, **arguments)
    assert network.aux is not None
    assert network.aux.heads[0][0].in_channels == stage.channels
    (logits,) = network.train()(torch.randn(2, 3, 64, 64)).aux
    assert logits.shape == (2, CLASSES, 64, 64)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.aux.parameters())


@pytest.mark.parametrize("model", ["starter_unet", "unet", "unetplusplus", "manet", "linknet"])
def test_without_skips_no_parameter_is_left_without_gradient(model: str) -> None:
    _, build, encoder, arguments, _ = next(row for row in MODELS if row[0] == model)
    network = build(encoder=encoder, upsampling=Transposed(), num_classes=CLASSES, skips=False, **arguments).train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


ENCODERS = sorted(file.stem for file in (conf_dir() / "encoder").glob("*.yaml") if file.stem != "none")


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_by_one_word_gives_the_maps_that_it_says(name: str) -> None:
    encoder = Encoder(str(OmegaConf.load(conf_dir() / "encoder" / f"{name}.yaml").name))
    with Uninitialised():
        network = encoder.build_vit() if name.startswith("dino") else encoder.build()
    maps = feature_maps(run_on_meta(network, meta_images(3)))
    if name.startswith("dino"):
        assert [each.shape for each in maps] == [(1, 384, 4, 4)] * 4
    else:
        assert [each.shape[1] for each in maps] == network.out_channels
        assert [each.shape[-1] for each in maps] == [64, 32, 16, 8, 4, 2]


# Export is slow with the number of operators, so it is tried on the smallest encoders there are.
EXPORT_ENCODERS = {RESNET: Encoder("test_efficientnet"), MIT: Encoder("test_efficientnet"), VIT: Encoder("test_vit")}
EXPORTED = [
    (row[0], upsampling)
    for row in FIRST_OF_EACH
    for upsampling in (
        ("bilinear", "nearest", "transposed", "pixelshuffle", "dysample") if row in MODELS else ("bilinear",)
    )
]
# The sizes that an export does not take where a model says so in ``export_limits``; all other models take these, too.
REFUSED_SIZES = {"mask2former": [(257, 140), (99, 130)], "pan": [(257, 140), (99, 130)]}


def exportable(model: str, upsampling: str) -> SegmentationModel:
    _, build, encoder, arguments, _ = next(row for row in ALL if row[0] == model)
    small = EXPORT_ENCODERS.get(encoder, encoder)
    return build(encoder=small, upsampling=dict(UPSAMPLINGS)[upsampling], num_classes=CLASSES, **arguments).eval()


@pytest.mark.parametrize(("model", "upsampling"), EXPORTED)
@torch.no_grad()
def test_every_model_exports(model: str, upsampling: str) -> None:
    network, images = exportable(model, upsampling), torch.randn(1, 3, 70, 50)
    exported = torch.export.export(network, (images,)).module()
    torch.testing.assert_close(exported(images), network(images))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "upsampling"), [pair for pair in EXPORTED if "bilinear" in pair or "starter_unet" in pair]
)
@torch.no_grad()
def test_exports_take_images_of_any_size_or_say_why_not(model: str, upsampling: str) -> None:
    network = exportable(model, upsampling)
    images = torch.randn(1, 3, 150, 203)  # no multiple of a stride: where nothing is padded, export forgets padding
    free = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}

    exported = torch.export.export(network, (images,), dynamic_shapes=(free,)).module()
    refused = REFUSED_SIZES.get(model, [])
    assert (network.export_limits is not None) == bool(refused)
    for size in [(257, 140), (99, 130)]:
        others = torch.randn(1, 3, *size)
        with pytest.raises(AssertionError, match="Guard failed") if size in refused else contextlib.nullcontext():
            torch.testing.assert_close(exported(others), network(others))


class Copies(TorchDispatchMode):
    """Collects operators that copy a tensor without computing anything."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("clone", "copy_", "_to_copy", "contiguous") and output.ndim >= 4:
            self.names.append(func.overloadpacket.__name__)
        return output


# grid_sample takes one set of points per image, and points and features of one dtype (see DySample2x).
NEEDED_COPIES = {
    ("dysample", torch.float32, torch.channels_last): ["clone"],  # the input
    ("dysample", torch.bfloat16, torch.contiguous_format): ["_to_copy"] * 3,  # points, input, output
    ("dysample", torch.bfloat16, torch.channels_last): ["_to_copy", "clone", "_to_copy", "_to_copy"],
}


@each_upsampling
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_upsampling_copies_no_feature_map(
    upsampling: str, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    step = dict(UPSAMPLINGS)[upsampling].make(8).to(dtype=dtype, memory_format=memory_format)
    features = torch.randn(2, 8, 16, 12, dtype=dtype).contiguous(memory_format=memory_format)
    with Copies() as copies:
        upsampled = step(features)
    assert copies.names == NEEDED_COPIES.get((upsampling, dtype, memory_format), [])
    assert upsampled.dtype == dtype
    assert upsampling == "dysample" or upsampled.is_contiguous(memory_format=memory_format)


def test_one_group_of_dysample_copies_nothing_in_any_memory_format() -> None:
    step = DySample(groups=1).make(8)
    features = torch.randn(2, 8, 16, 12).contiguous(memory_format=torch.channels_last)
    with Copies() as copies:
        step(features)
    assert copies.names == []
