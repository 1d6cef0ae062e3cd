"""EoMT against the transformers library's whole model, its masks, and its annealing."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from perpixel.losses import CrossEntropy
from perpixel.models import Bilinear, Encoder, EoMT, Nearest, SetLoss

pytest.importorskip("transformers")

CLASSES, QUERIES = 3, 5


@pytest.fixture(scope="module")
def model() -> EoMT:
    torch.manual_seed(0)
    return EoMT(Encoder("test_vit"), Bilinear(), CLASSES, queries=QUERIES, blocks=2)


def libraries_weights(model: EoMT) -> dict[str, Tensor]:
    """Ours, by the library's names: queries, keys and values apart, the class token's position in the token."""
    net, decoder = model.encoder.model, model.decoder
    weights = {
        "embeddings.cls_token": net.cls_token + net.pos_embed[:, :1],
        "embeddings.position_embeddings.weight": net.pos_embed[0, 1:],
        "embeddings.patch_embeddings.projection.weight": net.patch_embed.proj.weight,
        "embeddings.patch_embeddings.projection.bias": net.patch_embed.proj.bias,
    }
    weights |= {name: value for name, value in decoder.state_dict().items() if not name.startswith("blocks.")}
    for number, block in enumerate([*net.blocks, *decoder.blocks]):
        for kind in ("weight", "bias"):
            parts = zip(("q_proj", "k_proj", "v_proj"), getattr(block.attn.qkv, kind).chunk(3), strict=True)
            named = {f"attention.{name}": part for name, part in parts}
            named |= {"attention.out_proj": getattr(block.attn.proj, kind)}
            named |= {name: getattr(getattr(block, name), kind) for name in ("norm1", "norm2")}
            named |= {f"mlp.{name}": getattr(getattr(block.mlp, name), kind) for name in ("fc1", "fc2")}
            weights |= {f"layers.{number}.{name}.{kind}": value for name, value in named.items()}
    return weights


@pytest.mark.parametrize("masked", [False, True])
def test_it_computes_what_the_libraries_whole_model_does(model: EoMT, masked: bool) -> None:
    from transformers import EomtConfig, EomtForUniversalSegmentation

    net = model.encoder.model
    config = EomtConfig(
        hidden_size=net.embed_dim,
        num_hidden_layers=len(net.blocks) + len(model.decoder.blocks),
        num_attention_heads=net.blocks[0].attn.num_heads,
        mlp_ratio=net.blocks[0].mlp.fc1.out_features // net.embed_dim,
        image_size=16 * int(net.pos_embed[0, 1:].shape[0] ** 0.5),
        num_blocks=2,
        num_queries=QUERIES,
        num_register_tokens=0,
        num_labels=CLASSES,
    )
    theirs = EomtForUniversalSegmentation(config).eval()
    left = theirs.load_state_dict(libraries_weights(model), strict=False)
    assert not left.unexpected_keys
    assert {name.rpartition(".")[2] for name in left.missing_keys} <= {
        "lambda1", "attn_mask_probs", "empty_weight", "register_tokens",
    }  # fmt: skip
    theirs.attn_mask_probs.fill_(float(masked))
    images = torch.randn(2, 3, config.image_size, config.image_size)
    model.decoder.mask_probability = [1.0, 1.0]
    with torch.no_grad():
        expected = theirs(images)
        # ours masks in training only; there is no dropout
        found = model.train()(images) if masked else model.eval().decoder(model.encoder(images))
    assert expected.masks_queries_logits.std() > 0
    torch.testing.assert_close(found.masks[-1], expected.masks_queries_logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.classes[-1], expected.class_queries_logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "vit_small_patch16_dinov3"])
def test_any_size_of_image(name: str) -> None:
    """With learned positions, and with rotary ones, which leave the queries out."""
    network = EoMT(Encoder(name), Bilinear(), CLASSES, queries=QUERIES, blocks=1).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 50, 70)).shape == (1, CLASSES, 50, 70)
    prefix = network.encoder.model.num_prefix_tokens
    attention = network.decoder.blocks[0].attn
    assert getattr(attention, "num_prefix_tokens", prefix + QUERIES) == prefix + QUERIES


def test_the_set_loss_reaches_every_parameter_and_every_block_is_supervised(model: EoMT) -> None:
    model.train().zero_grad()
    queries = model(torch.randn(2, 3, 60, 64))
    assert len(queries.classes) == len(queries.masks) == 3
    assert queries.masks[0].shape == (2, QUERIES, 16, 16)
    SetLoss(points=64)(queries, torch.randint(0, CLASSES, (2, 60, 64))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_queries_look_within_their_masks_and_all_others_everywhere(model: EoMT) -> None:
    masks = torch.full((1, QUERIES, 8, 12), -5.0)
    masks[0, 0, :4, :4] = 5.0
    allowed = model.decoder._mask(masks, (2, 3), QUERIES + 1 + 6, QUERIES + 1, 1.0)[0, 0]
    assert allowed[:, : QUERIES + 1].all()
    assert allowed[QUERIES:].all()
    assert allowed[:QUERIES, QUERIES + 1 :].tolist() == [[True, *[False] * 5], *[[False] * 6] * (QUERIES - 1)]
    assert model.decoder._mask(masks, (2, 3), QUERIES + 1 + 6, QUERIES + 1, 0.0).all()


def test_blocks_stop_masking_one_after_the_other(model: EoMT) -> None:
    seen: list[list[float]] = []
    for step in range(17):
        model.set_progress(step / 16)
        seen.append(list(model.decoder.mask_probability))
    first, last = zip(*seen, strict=True)
    assert first[:3] == (1.0,) * 3
    assert first[4:] == (0.0,) * 13
    assert first[3] == pytest.approx(0.5**0.9)
    assert last[:12] == (1.0,) * 12
    assert last[13:] == (0.0,) * 4


def test_it_learns_two_halves() -> None:
    torch.manual_seed(0)
    model = EoMT(Encoder("test_vit"), Bilinear(), 2, queries=QUERIES, blocks=2).train()
    image = torch.cat([torch.ones(2, 3, 64, 32), -torch.ones(2, 3, 64, 32)], dim=3)
    target = torch.cat([torch.zeros(2, 64, 32), torch.ones(2, 64, 32)], dim=2).long()
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-3), SetLoss(points=256)
    for step in range(40):
        model.set_progress(step / 40)
        optimizer.zero_grad()
        loss(model(image), target).backward()
        optimizer.step()
    with torch.no_grad():
        assert (model.eval()(image).argmax(1) == target).float().mean() > 0.9


def test_what_it_does_not_take_is_refused(model: EoMT, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"CrossEntropy compares pixels one by one\. Use loss=mask2former"):
        model.check_loss(CrossEntropy)
    model.check_loss(SetLoss)
    with pytest.raises(ValueError, match="model=eomt has nothing that decoder=nearest could replace"):
        EoMT(Encoder("test_vit"), Nearest(), 2)
    with pytest.raises(ValueError, match=r"model\.blocks=99: the queries join the last of \d+ blocks"):
        EoMT(Encoder("test_vit"), Bilinear(), 2, blocks=99)
    with pytest.raises(ValueError, match="'resnet18' is no plain vision transformer"):
        EoMT(Encoder("resnet18"), Bilinear(), 2)
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "perpixel.models.eomt_decoder", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'perpixel\[mask2former\]'"):
        EoMT(Encoder("test_vit"), Bilinear(), 2)
