"""The confusion matrix and its scores against scikit-learn, on masks that hypothesis draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from perpixel.labels import LabelSpace
from perpixel.metrics import (
    Calibration,
    PixelMetric,
    SegmentationMetrics,
    SpatialMetrics,
    confusion_matrix,
    scores,
    to_labels,
)
from perpixel.metrics.confusion import _count_on_device


def space(classes: int, ignore_index: int | None = 255) -> LabelSpace:
    return LabelSpace(tuple(f"c{i}" for i in range(classes)), ((0, 0, 0),) * classes, ignore_index)


def masks(seed: int, classes: int, ignore_index: int = 255, size: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    used = rng.integers(1, classes + 1)
    prediction, target = rng.integers(0, used, size), rng.integers(0, classes, size)
    target[rng.random(size) < 0.2] = ignore_index
    return torch.from_numpy(prediction).view(1, 20, -1), torch.from_numpy(target).view(1, 20, -1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([1, 2, 6, 19, 150, 300]),
    ignore_index=st.sampled_from([255, -100, 1000]),
    narrow=st.booleans(),
)
def test_counts_are_sklearns(seed: int, classes: int, ignore_index: int, narrow: bool) -> None:
    if 0 <= ignore_index < classes:
        ignore_index = -1
    prediction, target = masks(seed, classes, ignore_index)
    keep = target != ignore_index
    expected = sk.confusion_matrix(target[keep], prediction[keep], labels=range(classes))
    if narrow and ignore_index == 255 and classes < 255:
        prediction, target = prediction.to(torch.uint8), target.to(torch.uint8)
    np.testing.assert_array_equal(confusion_matrix(prediction, target, classes, ignore_index), expected)
    on_device, strays = _count_on_device(prediction.flatten(), target.flatten(), classes, ignore_index)
    np.testing.assert_array_equal(on_device, expected)
    assert strays[0] == 0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 8))
def test_scores_are_sklearns(seed: int, classes: int) -> None:
    prediction, target = masks(seed, classes, size=60)
    metric = SegmentationMetrics(space(classes))
    metric.update(prediction, target)
    ours = {name: float(value) for name, value in metric.compute().items()}
    keep = target != 255
    truth, guess = target[keep].numpy(), prediction[keep].numpy()
    present = sorted({*truth, *guess})
    macro = {"labels": present, "average": "macro", "zero_division": 0}
    assert ours["mIoU"] == pytest.approx(sk.jaccard_score(truth, guess, **macro))
    assert ours["mDice"] == pytest.approx(sk.f1_score(truth, guess, **macro))
    assert ours["mPrecision"] == pytest.approx(sk.precision_score(truth, guess, **macro))
    assert ours["mRecall"] == pytest.approx(sk.recall_score(truth, guess, **macro))
    assert ours["fwIoU"] == pytest.approx(sk.jaccard_score(truth, guess, average="weighted", zero_division=0))
    assert ours["pixel_accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
    accuracies = [(guess[truth == c] == c).mean() for c in set(truth)]
    assert ours["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert ours["kappa"] == pytest.approx(sk.cohen_kappa_score(truth, guess), nan_ok=True)
    for c, value in zip(present, sk.jaccard_score(truth, guess, labels=present, average=None), strict=True):
        assert ours[f"IoU/c{c}"] == pytest.approx(value)
    for c in set(range(classes)) - set(present):
        assert np.isnan(ours[f"IoU/c{c}"])
    assert metric.absent == tuple(f"c{c}" for c in range(classes) if c not in present)


def test_without_labelled_pixels_every_score_is_nan() -> None:
    assert all(value.isnan() for value in scores(torch.zeros(2, 2, dtype=torch.int64), ("a", "b")).values())


def test_kappa_is_undefined_where_chance_explains_all() -> None:
    metric = SegmentationMetrics(space(3))
    metric.update(torch.ones(1, 4, 4, dtype=torch.int64), torch.ones(1, 4, 4, dtype=torch.int64))
    values = metric.compute()
    assert values["kappa"].isnan()
    assert values["pixel_accuracy"] == values["mIoU"] == 1
    metric.update(torch.zeros(1, 4, 4, dtype=torch.int64), torch.ones(1, 4, 4, dtype=torch.int64))
    assert metric.compute()["kappa"] == 0


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6), classes=st.sampled_from([1, 2, 19, 24, 25, 48, 49, 150, 256, 257]), ties=st.booleans()
)
def test_argmax_is_torchs(seed: int, classes: int, ties: bool) -> None:
    logits = torch.randn(2, classes, 7, 5, generator=torch.Generator().manual_seed(seed))
    if ties:
        logits = logits.round()
    for given_logits in (logits, logits.to(memory_format=torch.channels_last), logits.bfloat16(), logits.double()):
        assert torch.equal(to_labels(given_logits).long(), given_logits.argmax(1))


def test_argmax_of_doubles_sees_what_float32_rounds_away() -> None:
    logits = 1 + 1e-9 * torch.randn(1, 5, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(logits.float().argmax(1), logits.argmax(1))  # else this test would show nothing
    assert torch.equal(to_labels(logits).long(), logits.argmax(1))


def test_argmax_of_infinities_and_nan_is_torchs() -> None:
    logits = torch.randn(1, 5, 4, 4)
    logits[0, 1, 0, 0], logits[0, 2, 1, 1] = torch.inf, torch.nan
    logits[0, :, 2, 2] = -torch.inf
    assert torch.equal(to_labels(logits).long(), logits.argmax(1))
    logits[0, 2, 1, 1] = 0
    assert torch.equal(to_labels(logits).long(), logits.argmax(1))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_parts_and_threads_count_the_same(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        logits = torch.randn(3, 6, 400, 301)
        target = torch.randint(0, 6, (3, 400, 301), dtype=torch.uint8)
        expected = sk.confusion_matrix(target.flatten(), logits.argmax(1).flatten())
        metric = SegmentationMetrics(space(6))
        metric.update(logits, target)
        np.testing.assert_array_equal(metric.confusion, expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_impossible_targets_are_named(dtype: torch.dtype) -> None:
    target = torch.zeros(1, 4, 4, dtype=dtype)
    target[0, 0, :3] = 9
    with pytest.raises(ValueError, match=r"value 9 \(3 pixels\).*3 classes"):
        confusion_matrix(torch.zeros(1, 4, 4, dtype=torch.int64), target, 3, 255)
    with pytest.raises(ValueError, match=r"value -7 \(16 pixels\)"):
        confusion_matrix(torch.zeros(1, 4, 4, dtype=torch.int64), torch.full((1, 4, 4), -7), 3, 255)


@pytest.mark.parametrize("kind", [SegmentationMetrics, SpatialMetrics, Calibration])
def test_targets_of_fractions_are_refused(kind: type[PixelMetric]) -> None:
    logits = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"integer labels as target, .*not torch\.float32"):
        kind(space(3)).update(logits, torch.full((1, 4, 4), 0.7))
    with pytest.raises(ValueError, match="integer labels"):
        confusion_matrix(logits.argmax(1), torch.full((1, 4, 4), 0.7), 3, 255)


def test_impossible_predictions_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="prediction holds the value 3"):
        confusion_matrix(torch.full((4,), 3), torch.zeros(4, dtype=torch.int64), 3, 255)
    with pytest.raises(ValueError, match="one shape"):
        confusion_matrix(torch.zeros(4, dtype=torch.int64), torch.zeros(5, dtype=torch.int64), 3, 255)
    with pytest.raises(ValueError, match="logits"):
        to_labels(torch.zeros(4, 4))


def test_ranks_sum_to_the_integer() -> None:
    """Odd sizes split over two ranks: states add up to those of one, as torchmetrics sums them."""
    whole, ranks = SegmentationMetrics(space(5)), [SegmentationMetrics(space(5)) for _ in range(2)]
    for seed in range(5):
        pair = masks(seed, 5)
        whole.update(*pair)
        ranks[seed % 2].update(*pair)
    assert torch.equal(ranks[0].confusion + ranks[1].confusion, whole.confusion)
    assert {name: default.dtype for name, default in whole._defaults.items()} == dict.fromkeys(
        ("confusion", "strays", "offender"), torch.int64
    )
    assert all(reduce(torch.ones(2, 4)).shape == (4,) for reduce in whole._reductions.values())


def test_reset_forgets() -> None:
    metric = SegmentationMetrics(space(3))
    metric.update(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64))
    metric.compute()
    metric.reset()
    assert metric.confusion.sum() == 0
    assert metric.absent == ("c0", "c1", "c2")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("on_device", [False, True])
def test_deterministic_mode_counts_the_same(dtype: torch.dtype, on_device: bool) -> None:
    prediction, target = (torch.randint(0, 6, (2, 64, 301)).to(dtype) for _ in range(2))
    target[0, :5] = 255

    def counted() -> torch.Tensor:
        if on_device:
            return _count_on_device(prediction.flatten(), target.flatten(), 6, 255)[0]
        metric = SegmentationMetrics(space(6))
        metric.update(prediction, target)
        return metric.confusion

    free = counted()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(counted(), free)
    finally:
        torch.use_deterministic_algorithms(False)
    assert free.sum() == 2 * 64 * 301 - 5 * 301


@pytest.mark.parametrize("classes", [2, 150, 300])
def test_pixels_of_an_ignored_class_are_counted_by_no_path(classes: int) -> None:
    """A label space refuses such an index; the function alone takes it as it says."""
    prediction, target = torch.randint(0, classes, (2, 2000)).unbind()
    kept = confusion_matrix(prediction[target != 1], target[target != 1], classes, 1)
    for counted in (
        confusion_matrix(prediction, target, classes, 1),
        _count_on_device(prediction, target, classes, 1)[0],
    ):
        assert torch.equal(counted, kept)
