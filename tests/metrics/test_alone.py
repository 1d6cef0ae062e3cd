"""Losses and metrics in somebody's own loop, without label spaces and configs."""

from __future__ import annotations

import re

import pytest
import torch
from tests.commands import ROOT
from torch import nn
from torchmetrics import MetricCollection

from perpixel.labels import LabelSpace
from perpixel.metrics import SegmentationMetrics


def test_classes_by_number_count_as_a_label_space_does() -> None:
    space = LabelSpace(("0", "1", "2"), ((0, 0, 0),) * 3, ignore_index=-1)
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(-1, 3, (2, 8, 8))
    ours, theirs = SegmentationMetrics(num_classes=3, ignore_index=-1), SegmentationMetrics(space)
    step = ours(logits, target)  # torchmetrics' forward: counts, and the score of this batch
    theirs.update(logits, target)
    assert torch.equal(ours.confusion, theirs.confusion)
    assert step.keys() == theirs.compute().keys()
    assert torch.equal(step["IoU/2"], theirs.compute()["IoU/2"])
    collected = MetricCollection({"scores": SegmentationMetrics(num_classes=3, ignore_index=-1)})
    assert torch.equal(collected(logits, target)["mIoU"], step["mIoU"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "either a LabelSpace or num_classes"),
        ({"labels": LabelSpace(("a",), ((0, 0, 0),)), "num_classes": 1}, "either a LabelSpace or num_classes"),
        ({"labels": 19}, "num_classes=19"),
        ({"num_classes": 0}, "give 1 or more"),
        ({"num_classes": 4, "ignore_index": 3}, "ignore_index=3 is the index of class '3'"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SegmentationMetrics(**arguments)  # type: ignore[arg-type]


def test_the_readmes_loops_run(capsys: pytest.CaptureFixture[str]) -> None:
    section = (ROOT / "README.md").read_text().partition("## Losses and metrics alone")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(blocks) == 2
    target = torch.randint(0, 19, (2, 8, 8))
    target[:, :2] = 255
    model = nn.Conv2d(3, 19, 1)
    for block in blocks:
        exec(block, {"model": model, "loader": [(torch.rand(2, 3, 8, 8), target)]})
    assert model.weight.grad is not None
    assert 0 < float(capsys.readouterr().out.split("(")[-1].split(",")[0]) < 1
