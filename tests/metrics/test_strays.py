"""Impossible values where nobody may look at them: on a GPU, whose path runs here on CPU tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration, PixelMetric, SegmentationMetrics, calibration, confusion, segmentation
from perpixel.metrics.base import NAMES_KEPT
from perpixel.metrics.confusion import confusion_matrix
from perpixel.metrics.invalid_labels import NOTHING, first_offender

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)
KINDS = (SegmentationMetrics, Calibration)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends CPU tensors down the GPU's path, and fails whatever looks at a value there before the end."""
    for module in (confusion, segmentation, calibration):
        monkeypatch.setattr(module, "seen_at_once", lambda values: False)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def waits(*_: object) -> None:
        raise AssertionError("this would wait for the GPU")

    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu", "nonzero", "numpy"):
        monkeypatch.setattr(Tensor, name, waits)
    monkeypatch.setattr(segmentation, "to_labels", lambda logits: logits.argmax(1))  # what a GPU does
    return monkeypatch


def batch(*strays: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Logits (3, 3, 4, 5) and targets with two pixels of each (sample, value)."""
    target = torch.randint(0, 3, (3, 4, 5))
    target[:, 0] = 255
    for sample, value in strays:
        target[sample, 1, 3:] = value
    return torch.randn(3, 3, 4, 5), target


@pytest.mark.parametrize("kind", KINDS)
def test_value_count_and_sample_are_told_at_the_end(kind: type[PixelMetric], no_waiting: pytest.MonkeyPatch) -> None:
    metric = kind(SPACE)
    metric.update(*batch(), ["a0", "a1", "a2"])
    metric.update(*batch((1, 7), (2, -3)), ["b0", "b1", "b2"])
    metric.update(*batch((0, 9)), ["c0", "c1", "c2"])
    no_waiting.undo()
    with pytest.raises(ValueError, match=r"the target holds the value 7 in 'b1', the first of 6 pixels .*3 classes"):
        metric.compute()


@pytest.mark.parametrize("kind", KINDS)
def test_without_names_the_sample_is_numbered(kind: type[PixelMetric]) -> None:
    metric = kind(SPACE)
    metric.update(*batch())
    metric.update(*batch((2, 3)))
    with pytest.raises(ValueError, match="value 3 in sample 5 of rank 0, the first of 2 pixels"):
        metric.compute()
    metric.reset()
    metric.update(*batch())
    metric.compute()


@pytest.mark.parametrize("kind", KINDS)
def test_possible_values_are_scored_as_on_a_cpu(kind: type[PixelMetric], monkeypatch: pytest.MonkeyPatch) -> None:
    pair, empty = batch(), (torch.zeros(0, 3, 4, 5), torch.zeros(0, 4, 5, dtype=torch.int64))
    there, here = kind(SPACE), kind(SPACE)
    there.update(*pair)
    there.update(*empty)
    for module in (confusion, segmentation, calibration):
        monkeypatch.setattr(module, "seen_at_once", lambda values: True)
    here.update(*pair)
    ours, theirs = there.compute(), here.compute()
    assert all(torch.equal(ours[name].nan_to_num(-1), theirs[name].nan_to_num(-1)) for name in theirs)


def test_impossible_predictions_are_told_too() -> None:
    metric = SegmentationMetrics(SPACE)
    prediction = torch.tensor([[[0, 1]], [[1, 9]]])
    metric.update(prediction, torch.tensor([[[0, 1]], [[1, 255]]]), ["one", "two"])
    assert prediction[1, 0, 1] == 9  # what was given is not written to
    with pytest.raises(ValueError, match=r"the prediction holds the value 9 in 'two', the first of 1 pixels"):
        metric.compute()
    with pytest.raises(ValueError, match="the target holds the value 7, the first of 2 pixels"):
        confusion_matrix(torch.tensor([0, 1, 9]), torch.tensor([7, 1, 1]), 3, 255)


def test_names_kept_are_bounded() -> None:
    metric = SegmentationMetrics(SPACE)
    labels = torch.zeros(NAMES_KEPT // 2, 1, 1, dtype=torch.int64)
    for _ in range(3):
        metric.update(labels, labels, ["n"] * len(labels))
    assert len(metric._names) == NAMES_KEPT
    assert metric.offender.tolist() == list(NOTHING)


def test_of_many_ranks_the_first_that_has_one_is_told() -> None:
    rows = torch.tensor([NOTHING, (4, 9, 0, 1), (2, 8, 0, 2)])
    assert first_offender(rows).tolist() == [4, 9, 0, 1]
    assert first_offender(rows[:1]).tolist() == list(NOTHING)
    metric = SegmentationMetrics(SPACE)
    metric.update(*batch((0, 7)), ["mine", "x", "y"])
    metric.offender = rows[1].clone()
    with pytest.raises(ValueError, match="value 9 in sample 4 of rank 1"):
        metric.compute()


@pytest.mark.parametrize("kind", KINDS)
def test_forward_keeps_the_first(kind: type[PixelMetric]) -> None:
    metric = kind(SPACE)
    with pytest.raises(ValueError, match="value 7 in 'b1'"):
        metric(*batch(), ["a0", "a1", "a2"]), metric(*batch((1, 7)), ["b0", "b1", "b2"])
