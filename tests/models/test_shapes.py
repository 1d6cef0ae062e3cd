from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from perpixel.analysis.shapes import describe, measure, totals
from perpixel.analysis.shapes.graph import record
from perpixel.analysis.shapes.measured import energy_side
from perpixel.analysis.shapes.receptive import receptive_field
from perpixel.models import (
    DPT,
    FPN,
    Bilinear,
    Encoder,
    Linknet,
    MANet,
    Mask2Former,
    Nearest,
    NoEncoder,
    PixelShuffle,
    Segformer,
    StarterUnet,
    Transposed,
    Unet,
    UnetPlusPlus,
    UPerNet,
)
from perpixel.models.probe import meta_images
from perpixel.reporting.shapes_picture import SKIP, _connect, place, shapes_picture, skips, wrapped


def field_of(network: nn.Module, image: torch.Tensor) -> tuple[float, float]:
    operations = record(network, image).operations
    return receptive_field(operations, operations[-1].outputs[0], image)


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1)],
        [(3, 1, 1), (3, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 1)],
        [(3, 1, 2), (5, 2, 1), (3, 1, 4)],
        [(2, 2, 1)] * 4 + [(3, 1, 1)],
    ],
)
def test_a_plain_stack_agrees_with_the_closed_form(layers: list[tuple[int, int, int]]) -> None:
    """r = 1 + Σ (k − 1)·d·(product of the strides before), Araujo et al. 2019, equation 2."""
    convolutions = [nn.Conv2d(3, 3, k, stride=s, dilation=d, padding=k // 2) for k, s, d in layers]
    expected, jump = 1, 1
    for kernel, stride, dilation in layers:
        expected += (kernel - 1) * dilation * jump
        jump *= stride
    assert field_of(nn.Sequential(*convolutions), meta_images(3, 128, 96)) == (expected, expected)


@pytest.mark.parametrize(
    ("kernel", "expected"), [((3, 5), (3, 5)), ((1, 1), (1, 1))], ids=["rectangular kernel", "1×1"]
)
def test_rows_and_columns_are_followed_apart(kernel: tuple[int, int], expected: tuple[int, int]) -> None:
    assert field_of(nn.Conv2d(3, 3, kernel), meta_images(3)) == expected


def test_global_pooling_and_attention_see_everything() -> None:
    assert field_of(nn.AdaptiveAvgPool2d(1), meta_images(3)) == (math.inf, math.inf)
    vit = describe(
        DPT(Encoder("vit_tiny_patch16_224"), Bilinear(), 2, channels=8, intermediate_channels=(8,) * 4), 64, 64
    )
    assert all(stage.sees_all for stage in vit)


@pytest.mark.parametrize("upsampling", [Bilinear(), Nearest(), Transposed(2), Transposed(4), PixelShuffle()])
def test_the_field_is_exactly_where_the_gradient_is(upsampling) -> None:
    """With positive weights and average pooling no gradient cancels or is switched off."""
    model = StarterUnet(NoEncoder(), upsampling, 1, width=2, convs_per_block=1, in_channels=1).eval()
    model.encoder.pool = nn.AvgPool2d(2)
    for parameter in model.parameters():
        parameter.data.abs_().clamp_(min=0.1)
    image = torch.rand(1, 1, 256, 256, requires_grad=True)
    model(image)[0, 0, 128, 128].backward()
    rows, columns = image.grad[0, 0].nonzero().unbind(1)
    extent = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
    assert describe(model, 256, 256, in_channels=1)[-1].theoretical == extent


def test_starter_unet_reads_256_to_16_and_back() -> None:
    stages = describe(StarterUnet(NoEncoder(), Transposed(), 6), 256, 256)
    sizes = [stage.height for stage in stages if "upsample" not in stage.name]
    assert sizes == [256, 128, 64, 32, 16, 32, 64, 128, 256, 256]
    assert [stage.channels for stage in stages[:5]] == [64, 128, 256, 512, 1024]
    assert [stage.stride for stage in stages[:5]] == [1, 2, 4, 8, 16]
    by_name = {stage.name: stage for stage in stages}
    assert by_name["encoder.0"].inputs == ["image"]
    assert set(by_name["decoder.blocks.0"].inputs) == {"decoder.upsample.0", "encoder.3"}
    assert by_name["encoder.4"].theoretical == (140, 140)  # 3×3 twice at strides 1…16, four 2×2 pools


MODELS = {
    "starter_unet": lambda: StarterUnet(NoEncoder(), Transposed(), 4, width=4),
    "unet": lambda: Unet(Encoder("resnet18"), Transposed(), 4),
    "unet on efficientnet": lambda: Unet(Encoder("efficientnet_b0"), PixelShuffle(), 4),
    "shallow unet on efficientnet": lambda: Unet(
        Encoder("efficientnet-b0"), Bilinear(), 4, depth=3, channels=(16, 8, 8)
    ),
    "fpn": lambda: FPN(Encoder("resnet18"), Bilinear(), 4),
    "segformer": lambda: Segformer(Encoder("mit_b0"), Transposed(), 4),
    "upernet": lambda: UPerNet(Encoder("convnext_atto"), Bilinear(), 4),
    "dpt": lambda: DPT(Encoder("vit_tiny_patch16_224"), Bilinear(), 4),
    "mask2former": lambda: Mask2Former(
        Encoder("resnet18"), Bilinear(), 4, queries=6, channels=32, heads=2, pixel_layers=1, decoder_layers=2
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_stages_add_up_to_the_model(name: str) -> None:
    if name == "mask2former":
        pytest.importorskip("transformers")
    model = MODELS[name]()
    stages = describe(model, 96, 64)
    parameters, macs = totals(stages)
    assert parameters == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.randn(1, 3, 96, 64))
    assert macs == counter.get_total_flops() // 2
    assert [stage.height for stage in stages if stage.part == "head"][-1] == 96
    names = {stage.name for stage in stages} | {"image"}
    assert all(stage.inputs and names.issuperset(stage.inputs) for stage in stages)


def test_describing_leaves_the_model_alone() -> None:
    model = Unet(Encoder("resnet18"), Transposed(), 4).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stages = describe(model, 70, 50)
    measure(model, stages, 70, 50, images=1)
    assert model.training
    assert all(module.inplace for module in model.modules() if isinstance(module, nn.ReLU))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_the_measured_field_lies_within_the_theoretical_one() -> None:
    torch.manual_seed(0)
    model = StarterUnet(NoEncoder(), Transposed(), 2, width=4)
    stages = describe(model, 128, 128)
    measure(model, stages, 128, 128, images=2)
    assert all(1 <= stage.measured <= stage.theoretical[0] + 1 for stage in stages)
    by_name = {stage.name: stage.measured for stage in stages}
    assert by_name["encoder.0"] < by_name["encoder.2"] < by_name["encoder.4"]


def test_a_field_larger_than_the_theoretical_one_would_be_seen() -> None:
    """The measurement knows nothing of the theory: what is measured of one map and reported for another sticks out."""
    model = StarterUnet(NoEncoder(), Transposed(), 2, width=4)
    stages = describe(model, 64, 64)
    for stage in stages:
        stage.theoretical = (1, 1)
    measure(model, stages, 64, 64, images=1)
    assert stages[-1].measured > 10


def test_energy_side_is_the_smallest_square_that_holds_the_share() -> None:
    energy = torch.zeros(65, 65)
    energy[32, 32] = 90
    energy[32 + 5, 32] = 6
    energy[32, 32 - 20] = 4
    assert energy_side(energy, 1, (65, 65), share=0.90) == 1
    assert energy_side(energy, 1, (65, 65), share=0.95) == 11
    assert energy_side(energy, 1, (65, 65), share=0.99) == 41


def test_mask2former_shows_its_maps_and_masks() -> None:
    pytest.importorskip("transformers")
    small = {"queries": 6, "channels": 32, "heads": 2, "pixel_layers": 1, "decoder_layers": 2}
    model = Mask2Former(Encoder("resnet18"), Bilinear(), 4, **small)
    stages = describe(model, 96, 64)
    decoder = [stage for stage in stages if stage.part == "decoder"]
    assert [stage.stride for stage in decoder] == [32, 16, 8, 4, 4, 4, 4]
    assert all(stage.sees_all for stage in decoder), "deformable attention may look anywhere"
    assert (stages[-1].name, stages[-1].height, stages[-1].channels) == ("head", 96, 4)


@pytest.mark.parametrize("family", [StarterUnet, Unet, UnetPlusPlus, MANet, Linknet])
def test_without_skips_the_decoder_hangs_on_the_bottleneck_alone(family) -> None:
    encoder = NoEncoder() if family is StarterUnet else Encoder("resnet18")

    def encoders_maps(skips: bool) -> tuple[list[str], set[str]]:
        stages = describe(family(encoder, Transposed(), 2, skips=skips), 64, 64)
        inputs = {source for stage in stages if stage.part != "encoder" for source in stage.inputs}
        there = [stage.name for stage in stages if stage.part == "encoder"]
        return there, inputs & {*there, "image"}

    there, joined = encoders_maps(skips=True)
    assert joined == set(there)
    there, alone = encoders_maps(skips=False)
    assert alone == {there[-1]}


def test_long_names_are_broken_where_they_have_joints() -> None:
    assert wrapped("transformer_module.5", 14) == "transformer_\nmodule.5"
    assert wrapped("blocks.3", 14) == "blocks.3"
    assert wrapped("conv", 2) == "conv"


def test_the_picture_is_to_scale_and_its_arcs_are_the_skips() -> None:
    stages = describe(StarterUnet(NoEncoder(), Transposed(), 2, width=4), 128, 128)
    blocks = place(stages)
    assert {name: block.height for name, block in blocks.items()} == {
        stage.name: pytest.approx(max(stage.height / 128, 0.02)) for stage in stages
    }
    arcs = skips(stages)
    assert arcs == {(f"encoder.{level}", f"decoder.blocks.{3 - level}") for level in range(4)}
    for source, target in (*arcs, ("encoder.4", "decoder.upsample.0")):
        axes = Figure().subplots()
        _connect(axes, blocks[source], blocks[target], (source, target) in arcs)
        assert (axes.patches[0].get_edgecolor()[:3] == to_rgb(SKIP)) == ((source, target) in arcs)


@pytest.mark.parametrize("skips", [True, False])
def test_the_legend_names_skips_only_where_there_are_some(
    skips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = []
    monkeypatch.setattr(Axes, "legend", lambda self, handles, labels, **rest: named.extend(labels))
    stages = describe(StarterUnet(NoEncoder(), Transposed(), 2, width=4, skips=skips), 64, 64)
    shapes_picture(stages, (3, 64, 64), "", tmp_path / "shapes.png")
    assert named == ["encoder", "decoder", "head", *(["skip connection"] if skips else [])]


def test_skips_lead_past_the_bottleneck_whatever_they_pass_through() -> None:
    """UPerNet begins with a norm on each of the encoder's maps, the bottleneck's among them."""
    arcs = skips(describe(UPerNet(Encoder("resnet18"), Bilinear(), 2, channels=8), 64, 64))
    norms = {(f"encoder.{level}", f"decoder.feature_norms.{level - 2}") for level in (2, 3, 4)}
    lateral = {
        ("feature_norms.2", "top_down.1"),
        ("feature_norms.1", "top_down.2"),
        ("feature_norms.0", "fpn_conv_blocks.2"),
    }
    assert arcs == norms | {(f"decoder.{source}", f"decoder.{target}") for source, target in lateral}
