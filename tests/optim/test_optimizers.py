from __future__ import annotations

import pytest
import torch
from torch import nn

from perpixel.optim import SGD, AdamW, OptimizerFactory


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 2, 1)


@pytest.mark.parametrize(
    "make", [AdamW(lr=1.0, encoder_lr=0.1, weight_decay=0.5), SGD(lr=1.0, encoder_lr=0.1, weight_decay=0.5)]
)
def test_groups_have_their_own_rates_and_norms_and_biases_do_not_decay(make: OptimizerFactory) -> None:
    net = Net()
    optimizer = make(net)
    found = {group["name"]: group for group in optimizer.param_groups}
    assert {name: (group["lr"], group["weight_decay"]) for name, group in found.items()} == {
        "encoder/decay": (0.1, 0.5),
        "encoder/no_decay": (0.1, 0.0),
        "decoder/decay": (1.0, 0.5),
        "decoder/no_decay": (1.0, 0.0),
    }
    assert [p.shape for p in found["encoder/no_decay"]["params"]] == [(4,), (4,), (4,)]
    assert sum(p.numel() for group in found.values() for p in group["params"]) == sum(
        p.numel() for p in net.parameters()
    )


def test_encoder_lr_defaults_to_lr_and_frozen_parameters_are_left_out() -> None:
    net = Net()
    net.encoder.requires_grad_(False)
    groups = AdamW(lr=0.3)(net).param_groups
    assert {group["name"] for group in groups} == {"decoder/decay", "decoder/no_decay"}
    assert {group["lr"] for group in groups} == {0.3}
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="everything is frozen"):
        AdamW(lr=0.3)(net)


def test_weight_decay_shrinks_weights_but_not_norms() -> None:
    net = Net()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = AdamW(lr=0.1, weight_decay=0.5)(net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in net.named_parameters():
        factor = 0.95 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
