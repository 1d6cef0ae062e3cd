"""The linear head: frozen means frozen, and the sum of scores is the linear layer that it stands for."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from perpixel.models import Bilinear, DySample, Encoder, Linear
from perpixel.optim import AdamW

VIT, CNN = Encoder("test_vit"), Encoder("test_efficientnet")


@pytest.mark.parametrize("encoder", [VIT, CNN])
def test_frozen_the_encoder_takes_no_gradient_no_optimiser_and_no_statistics(encoder: Encoder) -> None:
    model = Linear(encoder, DySample(), 3)
    before = copy.deepcopy(model.encoder.state_dict())
    model.train()
    assert model.training
    assert model.decoder.training
    assert not any(module.training for module in model.encoder.modules())
    optimizer = AdamW(lr=0.1, weight_decay=0.5)(model)
    assert {group["name"].partition("/")[0] for group in optimizer.param_groups} == {"decoder"}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for part in (model.decoder, model.head) for p in part.parameters()}
    model(torch.randn(2, 3, 64, 70)).square().mean().backward()
    optimizer.step()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.decoder.parameters())
    after = model.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_not_frozen_it_trains() -> None:
    model = Linear(CNN, Bilinear(), 3, frozen=False).train()
    assert all(module.training for module in model.encoder.modules())
    assert {g["name"].partition("/")[0] for g in AdamW(lr=0.1)(model).param_groups} == {"encoder", "decoder"}


def test_the_scores_are_those_of_one_linear_layer_on_all_maps() -> None:
    model = Linear(CNN, Bilinear(), 3).eval()
    features = model.features(torch.randn(2, 3, 64, 96))[-4:]
    finest = features[0].shape[-2:]
    whole = []
    for (norm, _), each in zip(model.decoder.scores, features, strict=True):
        each = norm(each)
        while each.shape[-2:] != finest:
            each = F.interpolate(each, scale_factor=2.0, mode="bilinear")
        whole.append(each)
    weight = torch.cat([score[1].weight for score in model.decoder.scores], dim=1)
    bias = sum(score[1].bias for score in model.decoder.scores)
    torch.testing.assert_close(
        model.decoder(features), F.conv2d(torch.cat(whole, 1), weight, bias), rtol=1e-4, atol=1e-4
    )


def test_a_vits_map_is_its_last_blocks_tokens_after_the_final_norm() -> None:
    model = Linear(VIT, Bilinear(), 3).eval()
    images = torch.randn(2, 3, 32, 48)
    (found,) = model.features(images)
    network = model.encoder.network.model
    with torch.no_grad():
        tokens = network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[0]
    assert found.shape == (2, 64, 2, 3)
    torch.testing.assert_close(found, tokens)
    assert found.mean(1).abs().max() < 1e-4  # layer norm


def test_features_known_already_give_the_same() -> None:
    model = Linear(VIT, Bilinear(), 3).eval()
    images = torch.randn(2, 3, 40, 51)
    with torch.no_grad():
        assert torch.equal(model.from_features(model.features(images), (40, 51)), model(images))


@pytest.mark.parametrize(("encoder", "levels"), [(CNN, 0), (CNN, 5), (VIT, 0)])
def test_levels_that_there_are_not_are_refused(encoder: Encoder, levels: int) -> None:
    with pytest.raises(ValueError, match=rf"model\.levels={levels}: use 1 to 4 maps"):
        Linear(encoder, Bilinear(), 3, levels=levels)


def test_several_blocks_of_a_vit() -> None:
    model = Linear(VIT, Bilinear(), 3, levels=2, batch_norm=False, frozen=False)
    model(torch.randn(1, 3, 32, 32)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
