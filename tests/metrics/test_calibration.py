from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassCalibrationError

from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)


def test_ece_is_torchmetrics() -> None:
    ours, theirs = Calibration(SPACE), MulticlassCalibrationError(3, n_bins=15, norm="l1", ignore_index=255)
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        logits, target = torch.randn(2, 3, 17, 9, generator=rng) * 2, torch.randint(0, 3, (2, 17, 9), generator=rng)
        target[0, :3] = 255
        ours.update(logits, target)
        theirs.update(logits, target)
    torch.testing.assert_close(ours.compute()["ECE"].float(), theirs.compute(), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), classes=st.sampled_from([1, 2, 5]), bins=st.sampled_from([1, 10, 15]))
def test_ece_and_diagram_are_numpys(seed: int, classes: int, bins: int) -> None:
    """By NumPy's digitize over images of different sizes, ignored pixels included."""
    rng = np.random.default_rng(seed)
    metric = Calibration(LabelSpace(tuple("abcde"[:classes]), ((0, 0, 0),) * classes), bins)
    sure, right = [], []
    for size in ((7, 9), (4, 3)):
        logits, target = rng.normal(0, 3, (2, classes, *size)), rng.integers(0, classes, (2, *size))
        target[rng.random(target.shape) < 0.2] = 255
        metric.update(torch.from_numpy(logits).float(), torch.from_numpy(target))
        share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        sure.append(share.max(1)[target != 255])
        right.append((share.argmax(1) == target)[target != 255])
    confidence, correct = np.concatenate(sure), np.concatenate(right)
    bin_of = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    gaps = [abs(correct[bin_of == b].sum() - confidence[bin_of == b].sum()) for b in range(bins)]
    assert float(metric.compute()["ECE"]) == pytest.approx(sum(gaps) / len(confidence), abs=1e-6)
    diagram = metric.details["reliability"]
    assert diagram["share"] == pytest.approx(np.bincount(bin_of, minlength=bins) / len(confidence))
    for b in range(bins):
        here = bin_of == b
        if not here.any():
            assert diagram["accuracy"][b] is diagram["confidence"][b] is None
            continue
        assert diagram["accuracy"][b] == pytest.approx(correct[here].mean())
        assert diagram["confidence"][b] == pytest.approx(confidence[here].mean(), abs=1e-6)


def test_doubles_are_right_where_their_argmax_is() -> None:
    logits = 1 + 1e-9 * torch.randn(1, 3, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    metric = Calibration(SPACE)
    metric.update(logits, logits.argmax(1))
    assert metric.right.sum() == 400


def test_order_and_division_change_nothing() -> None:
    logits, target = torch.randn(5, 3, 17, 9), torch.randint(0, 3, (5, 17, 9))
    whole, parts = Calibration(SPACE), Calibration(SPACE)
    whole.update(logits, target)
    for index in (3, 0, 4, 1, 2):
        parts.update(logits[index : index + 1], target[index : index + 1])
    assert all(torch.equal(getattr(whole, name), getattr(parts, name)) for name in ("pixels", "right", "confidence"))


def test_extreme_and_broken_logits_stay_finite() -> None:
    logits = torch.zeros(1, 3, 1, 3, dtype=torch.float16)
    logits[0, 0, 0, 0], logits[0, 1, 0, 1], logits[0, 1, 0, 2] = 6e4, -6e4, torch.nan
    metric = Calibration(SPACE)
    metric.update(logits, torch.zeros(1, 1, 3, dtype=torch.int64))
    assert metric.compute()["ECE"].isfinite()
    assert metric.pixels.tolist() == [1, 0, 0, 0, 0, 0, 0, 1] + [0] * 6 + [1]


def test_labels_hold_no_confidence() -> None:
    with pytest.raises(ValueError, match="calibration needs logits"):
        Calibration(SPACE).update(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="bins=0"):
        Calibration(SPACE, bins=0)


def test_reliability_is_the_diagram() -> None:
    metric = Calibration(SPACE, bins=2)
    logits = torch.tensor([[9.0, 0, 0], [9.0, 0, 0], [0.1, 0.0, 0.0], [9.0, 0, 0]]).t().view(1, 3, 1, 4)
    metric.update(logits, torch.tensor([[[0, 1, 1, 255]]]))
    diagram = metric.reliability()
    torch.testing.assert_close(diagram.share, torch.tensor([1 / 3, 2 / 3]).double())
    torch.testing.assert_close(diagram.accuracy, torch.tensor([0.0, 0.5]).double())
    assert metric.compute()["ECE"] > 0.4


def test_without_pixels_it_is_nan() -> None:
    assert Calibration(SPACE).reliability().ece.isnan()
