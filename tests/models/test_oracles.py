"""Our models against smp's own, and against counts from the papers."""

from __future__ import annotations

import itertools

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torchvision.models.segmentation.lraspp import LRASPPHead

from perpixel.models import (
    DPT,
    FCN,
    FPN,
    LRASPP,
    PAN,
    Bilinear,
    DeepLabV3,
    DeepLabV3Plus,
    Encoder,
    Linknet,
    MANet,
    Nearest,
    NoEncoder,
    PSPNet,
    Segformer,
    StarterUnet,
    Transposed,
    Unet,
    UnetPlusPlus,
    UPerNet,
)

PAIRS = [
    (Unet, smp.Unet, Nearest(), "resnet18", {}),
    (UnetPlusPlus, smp.UnetPlusPlus, Nearest(), "resnet18", {}),
    (MANet, smp.MAnet, Nearest(), "resnet18", {}),
    (Linknet, smp.Linknet, Transposed(kernel_size=4), "resnet18", {}),
    (FPN, smp.FPN, Bilinear(), "resnet18", {}),
    (PAN, smp.PAN, Bilinear(), "resnet18", {}),
    (PSPNet, smp.PSPNet, Bilinear(), "resnet18", {"encoder_depth": 5}),
    (DeepLabV3, smp.DeepLabV3, Bilinear(), "resnet18", {}),
    (DeepLabV3Plus, smp.DeepLabV3Plus, Bilinear(), "resnet18", {"decoder_atrous_rates": (6, 12, 18)}),
    (Segformer, smp.Segformer, Bilinear(), "mit_b0", {}),  # on convolutional encoders smp's takes one map more
    (UPerNet, smp.UPerNet, Bilinear(), "resnet18", {}),
]


@pytest.fixture
def two_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make smp interpolate as we do: by 2× bilinear steps on pixel areas, where it goes at once or by corners.

    What is no power of two (a pyramid's pooled regions) stays as it is, and so does nearest interpolation by blocks.
    """
    original = F.interpolate

    def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None, **rest):
        height = int(x.shape[-2] * scale_factor) if size is None else size[0]
        width = int(x.shape[-1] * scale_factor) if size is None else size[1]
        factor = height // x.shape[-2]
        if (height, width) != (factor * x.shape[-2], factor * x.shape[-1]) or factor & (factor - 1):
            return original(x, size=(height, width), mode=mode, align_corners=align_corners, **rest)
        for _ in range(factor.bit_length() - 1):
            x = original(x, scale_factor=2.0, mode=MODE.get(mode, mode))
        return x

    monkeypatch.setattr(F, "interpolate", interpolate)


MODE: dict[str, str] = {}


def assert_same_decoder(network, reference, features: list[torch.Tensor]) -> None:
    """For the same features both decoders give the same; the weights are already the same."""
    with torch.no_grad():
        mine, smps = network.decoder(features), reference.decoder(features)
    assert mine.shape == smps.shape
    assert smps.std() > 0
    torch.testing.assert_close(mine, smps, rtol=1e-4, atol=1e-5 * float(smps.abs().max()))


@pytest.mark.usefixtures("two_fold")
@pytest.mark.parametrize(
    ("ours", "theirs", "upsampling", "encoder", "options"), PAIRS, ids=[pair[0].__name__ for pair in PAIRS]
)
def test_smps_weights_give_smps_decoder_output(ours, theirs, upsampling, encoder, options, monkeypatch) -> None:
    """Exactly, once smp's interpolation goes in our steps (FPN's way down is nearest in smp, bilinear in the paper)."""
    if ours is FPN:
        monkeypatch.setitem(MODE, "nearest", "bilinear")
    network = ours(Encoder(encoder), upsampling, num_classes=3).eval()
    reference = theirs(encoder, encoder_weights=None, classes=3, **options).eval()
    weights = reference.decoder.state_dict()
    if ours is Linknet:  # there the transposed convolution stands under the upsampler's own name
        weights = {key.replace(".block.1.0.", ".block.1.0.conv."): value for key, value in weights.items()}
    network.decoder.load_state_dict(weights)
    with torch.no_grad():
        features = network.encoder(torch.randn(1, 3, 128, 256))  # PAN pools 1/16 three times more
    assert_same_decoder(network, reference, features)


@pytest.mark.usefixtures("two_fold")
def test_smps_weights_give_smps_dpt_but_for_the_reassembly() -> None:
    """smp reassembles 1/4 by one 4×4 transposed convolution of stride 4, which is no chain of 2× steps: lent here."""
    network = DPT(Encoder("vit_tiny_patch16_224"), Bilinear(), num_classes=3).eval()
    reference = smp.DPT("tu-vit_tiny_patch16_224", encoder_weights=None, classes=3).eval()
    for block, smps in zip(network.decoder.reassemble_blocks, reference.decoder.reassemble_blocks, strict=True):
        block.upsample = smps.upsample
    network.decoder.load_state_dict(reference.decoder.state_dict())
    tokens = [torch.randn(1, 192, 4, 6) for _ in range(4)], [torch.randn(1, 1, 192) for _ in range(4)]
    with torch.no_grad():
        mine, smps = network.decoder(*tokens), reference.decoder(*tokens)
        torch.testing.assert_close(mine, smps, rtol=1e-4, atol=1e-5 * float(smps.abs().max()))
        head = dict(zip(network.head.state_dict(), reference.segmentation_head.state_dict().values(), strict=True))
        network.head.load_state_dict(head)
        torch.testing.assert_close(network.head(mine), reference.segmentation_head(mine), rtol=1e-4, atol=1e-4)


def test_torchvisions_weights_give_torchvisions_lraspp() -> None:
    network = LRASPP(Encoder("mobilenetv3_large_100"), Bilinear(), num_classes=3).eval()
    assert (network.encoder.out_channels[3], network.encoder.out_channels[-1]) == (40, 960)  # as torchvision's backbone
    reference = LRASPPHead(40, 960, num_classes=3, inter_channels=128).eval()
    network.decoder.load_state_dict(reference.state_dict())
    with torch.no_grad():
        features = network.encoder(torch.randn(1, 3, 64, 96))
        theirs = reference({"low": features[3], "high": features[-1]})
        torch.testing.assert_close(network.decoder(features), theirs)
    assert theirs.std() > 0


def test_starter_unet_has_the_papers_size() -> None:
    """Weights and biases for grey images and two classes, counted from Ronneberger et al.'s figure 1."""
    network = StarterUnet(NoEncoder(), Transposed(), num_classes=2, in_channels=1)
    widths = [1, 64, 128, 256, 512, 1024]
    convs = lambda i, o: 9 * i * o + o + 9 * o * o + o  # noqa: E731
    down = sum(convs(i, o) for i, o in itertools.pairwise(widths))
    up = sum(4 * 2 * c * c + c + convs(2 * c, c) for c in (512, 256, 128, 64))
    assert sum(p.numel() for p in network.parameters()) == down + up + 64 * 2 + 2 == 31_030_658


@pytest.mark.parametrize("convs_per_block", [1, 2])
def test_starter_unet_halves_to_a_sixteenth_and_back(convs_per_block) -> None:
    network = StarterUnet(NoEncoder(), Transposed(), num_classes=2, width=4, convs_per_block=convs_per_block)
    features = network.encoder(torch.randn(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in features] == [
        (4, 64, 64),
        (8, 32, 32),
        (16, 16, 16),
        (32, 8, 8),
        (64, 4, 4),
    ]
    assert len([m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]) == 9 * convs_per_block + 1


def test_starter_unet_refuses_an_encoder_and_the_others_need_one() -> None:
    with pytest.raises(ValueError, match=r"brings its own encoder, so encoder 'resnet18' would go unused"):
        StarterUnet(Encoder("resnet18"), Transposed(), num_classes=2)
    with pytest.raises(ValueError, match="encoder=none gives none"):
        Unet(NoEncoder(), Transposed(), num_classes=2)


@pytest.mark.parametrize("model", [Unet, UnetPlusPlus, MANet, Linknet])
def test_without_skips_the_bottleneck_decides_all(model) -> None:
    torch.manual_seed(0)
    network = model(Encoder("resnet18"), Nearest(), num_classes=2, skips=False).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = network.encoder(images)
        logits = network.decode(features)
        others = [torch.randn_like(each) for each in features[:-1]]
        assert torch.equal(network.decode([*others, features[-1]]), logits)
        assert not torch.equal(network.decode([*features[:-1], features[-1] + 1]), logits)


def test_linknet_without_skips_is_the_same_decoder() -> None:
    """Its skips are sums, so that cutting them changes no width and no initial weight."""
    decoders = []
    for skips in (True, False):
        torch.manual_seed(0)
        network = Linknet(Encoder("resnet18"), Transposed(), num_classes=2, skips=skips)
        widths = [block.block[2][0].out_channels for block in network.decoder.blocks]
        assert widths == [256, 128, 64, 64, 32]
        decoders.append(network.state_dict())
    torch.testing.assert_close(decoders[1], decoders[0], rtol=0, atol=0)


def test_starter_unet_without_width_says_so() -> None:
    with pytest.raises(ValueError, match=r"model\.width=0: the channels at full resolution are 1 or more"):
        StarterUnet(NoEncoder(), Nearest(), 2, width=0)


def test_starter_unet_without_skips_too() -> None:
    network = StarterUnet(NoEncoder(), Transposed(), num_classes=2, width=4, skips=False).eval()
    with torch.no_grad():
        features = network.encoder(torch.randn(1, 3, 32, 32))
        logits = network.decode(features)
        assert torch.equal(network.decode([*(each + 1 for each in features[:-1]), features[-1]]), logits)


def test_deep_supervision_asks_every_inner_node() -> None:
    network = UnetPlusPlus(Encoder("resnet18"), Nearest(), num_classes=2, deep_supervision=True).train()
    output = network(torch.randn(2, 3, 64, 64))
    assert len(output.aux) == 3
    assert network.aux_weight == 1.0
    with pytest.raises(ValueError, match="removes them"):
        UnetPlusPlus(Encoder("resnet18"), Nearest(), 2, skips=False, deep_supervision=True)
    with pytest.raises(ValueError, match="brings its own auxiliary heads"):
        UnetPlusPlus(Encoder("resnet18"), Nearest(), 2, deep_supervision=True, aux={"weight": 0.4})


def test_an_unknown_auxiliary_stage_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'encoder.9' is no stage.*encoder.1, encoder.2.*decoder.blocks.0"):
        Unet(Encoder("resnet18"), Nearest(), 2, aux={"weight": 0.4, "stages": ["encoder.9"]})


def test_dpts_head_starts_as_smps() -> None:
    """Xavier: a spread of √(2 / (fan_in + fan_out)) with both 9·channels."""
    torch.manual_seed(0)
    head = DPT(Encoder("test_vit"), Bilinear(), num_classes=3, channels=64).head
    assert head.refine[0].weight.std().item() == pytest.approx((2 / (9 * 64 + 9 * 64)) ** 0.5, rel=0.02)
    assert head.conv.bias.abs().max() == 0


def test_fcn_refuses_a_variant_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="variant=64s: FCN is defined as 32s, 16s and 8s"):
        FCN(Encoder("resnet18"), Bilinear(), num_classes=2, variant="64s")  # type: ignore[arg-type]
