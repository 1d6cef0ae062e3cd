"""Pretrained weights know the images they were trained on."""

from __future__ import annotations

import pytest
import timm

from perpixel.models import Encoder, NoEncoder
from perpixel.models.encoder import HALF, IMAGENET
from perpixel.spec import Normalise


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet34", IMAGENET),
        ("mit_b0", IMAGENET),
        ("mobilenet_v2", IMAGENET),
        ("timm-tf_efficientnet_lite0", HALF),
        ("tf_efficientnet_lite0", HALF),
        ("convnext_tiny", IMAGENET),
        ("vit_small_patch14_dinov2", IMAGENET),
        ("vit_base_patch16_224.augreg_in21k", HALF),
        ("xception", HALF),
        ("inceptionv4", HALF),
    ],
)
def test_what_weights_expect(name: str, expected: object) -> None:
    assert Encoder(name, weights="imagenet").normalisation() == expected
    assert Encoder(name).normalisation() is None


def test_published_numbers_that_are_neither() -> None:
    published = timm.get_pretrained_cfg("dpn68")
    assert Encoder("dpn68", weights="some.pth").normalisation() == Normalise(published.mean, published.std)
    assert published.mean not in (IMAGENET.mean, HALF.mean)


def test_random_weights_expect_nothing() -> None:
    assert NoEncoder().normalisation() is None
