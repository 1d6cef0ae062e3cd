from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from perpixel.losses import CrossEntropy
from perpixel.models import Bilinear, Encoder, Mask2Former, Nearest, NoEncoder, SetLoss, StarterUnet
from perpixel.models.mask_classification import EPSILON, SemanticInference
from perpixel.models.mask_queries import MaskQueries

SMALL = {"queries": 6, "channels": 32, "heads": 2, "pixel_layers": 1, "decoder_layers": 2}


@pytest.fixture(scope="module")
def model() -> Mask2Former:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return Mask2Former(Encoder("resnet18"), Bilinear(), num_classes=3, **SMALL)


def test_logits_have_the_size_of_the_image(model) -> None:
    with torch.no_grad():
        logits = model.eval()(torch.randn(2, 3, 70, 33))
    assert logits.shape == (2, 3, 70, 33)
    assert logits.isfinite().all()
    assert logits.max() <= torch.tensor(SMALL["queries"] + EPSILON).log()  # Σ p·σ is at most the number of queries


def test_semantic_inference_is_the_papers_sum() -> None:
    classes = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]])  # query 0 is class 0, query 1 class 1; last: no object
    masks = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])
    logits = SemanticInference()(MaskQueries((classes,), (masks,)))
    assert logits.shape == (1, 2, 4, 8)
    assert logits.argmax(1)[0, 0].tolist() == [0] * 4 + [1] * 4
    p = classes.softmax(-1)[0, 0, 0]
    s = torch.sigmoid(torch.tensor(9.0))
    expected = p * s + classes.softmax(-1)[0, 1, 0] * (1 - s)
    torch.testing.assert_close(logits[0, 0, 0, 0].exp(), expected + EPSILON)


def test_the_set_loss_reaches_every_parameter(model) -> None:
    model.train().zero_grad()
    target = torch.randint(0, 3, (2, 60, 64))
    target[:, :20] = 255
    loss = SetLoss(points=64)
    value = loss(model(torch.randn(2, 3, 60, 64)), target)
    value.backward()
    assert value.isfinite()
    assert set(loss.parts) == {"cross_entropy", "mask", "dice"}
    assert not loss.state_dict()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_auxiliary_heads_are_scored_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    aux = {"weight": 0.4, "stages": ["encoder.3", "decoder.pixel_decoder.3"]}
    model = Mask2Former(Encoder("resnet18"), Bilinear(), num_classes=3, aux=aux, **SMALL).train()
    output = model(torch.randn(2, 3, 60, 64))
    assert isinstance(output.logits, MaskQueries)
    target = torch.randint(0, 3, (2, 60, 64))
    for logits in output.aux:
        torch.testing.assert_close(SetLoss()(logits, target), F.cross_entropy(logits, target))


def test_every_layer_is_supervised(model) -> None:
    queries = model.train()(torch.randn(2, 3, 64, 64))
    assert len(queries.classes) == len(queries.masks) == SMALL["decoder_layers"] + 1


def test_a_batch_without_labels_gives_zero(model) -> None:
    model.train().zero_grad()
    value = SetLoss(points=64)(model(torch.randn(2, 3, 64, 64)), torch.full((2, 64, 64), 255))
    value.backward()
    assert value.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_one_image_without_labels_does_not_stop_the_others(model) -> None:
    target = torch.zeros(2, 64, 64, dtype=torch.long)
    target[1] = 255
    assert SetLoss(points=64)(model.train()(torch.randn(2, 3, 64, 64)), target).isfinite()


def test_validation_logits_are_scored_by_cross_entropy(model) -> None:
    logits = torch.randn(2, 3, 8, 8)
    target = torch.randint(0, 3, (2, 8, 8))
    torch.testing.assert_close(SetLoss()(logits, target), F.cross_entropy(logits, target))


def test_it_learns_two_halves() -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = Mask2Former(Encoder("resnet18"), Bilinear(), num_classes=2, **SMALL).train()
    image = torch.cat([torch.ones(2, 3, 64, 32), -torch.ones(2, 3, 64, 32)], dim=3)
    target = torch.cat([torch.zeros(2, 64, 32), torch.ones(2, 64, 32)], dim=2).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = SetLoss(points=256)
    for _ in range(30):
        optimizer.zero_grad()
        loss(model(image), target).backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model.eval()(image).argmax(1) == target).float().mean()
    assert accuracy > 0.9


def test_other_losses_and_other_models_are_refused(model) -> None:
    with pytest.raises(ValueError, match=r"CrossEntropy compares pixels one by one\. Use loss=mask2former"):
        model.check_loss(CrossEntropy)
    model.check_loss(SetLoss)
    starter = StarterUnet(NoEncoder(), Nearest(), 2, width=4)
    starter.check_loss(CrossEntropy)
    with pytest.raises(ValueError, match="loss=mask2former matches sets of masks, and StarterUnet labels pixels"):
        starter.check_loss(SetLoss)
    with pytest.raises(ValueError, match="has nothing that decoder=nearest could replace"):
        Mask2Former(Encoder("resnet18"), Nearest(), 2)


def test_without_the_library_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "perpixel.models.mask2former_decoder", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'perpixel\[mask2former\]'"):
        Mask2Former(Encoder("resnet18"), Bilinear(), 2)
