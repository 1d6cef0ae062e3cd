"""Masks that hypothesis draws pixel by pixel, and shrinks to the least that fails: odd shapes, nothing labelled."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from sklearn import metrics as sk

from perpixel.labels import LabelSpace
from perpixel.metrics import SegmentationMetrics, SpatialMetrics
from perpixel.metrics.structures import small_object_counts

Pair = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
CLASSES, IGNORED = 3, 255
SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * CLASSES)
NOTHING_LABELLED = np.zeros((1, 2, 3), np.int64), np.full((1, 2, 3), IGNORED)
NO_IMAGE = np.zeros((0, 4, 4), np.int64), np.zeros((0, 4, 4), np.int64)
ONE_ROW = np.array([[[0, 1, 2, 2, 1]]]), np.array([[[0, 1, IGNORED, 2, 2]]])


def masks(images: tuple[int, int] = (1, 3), side: int = 9) -> st.SearchStrategy[Pair]:
    """(B, H, W) predictions and targets of one drawn shape, 1×N among them."""
    shapes = st.tuples(st.integers(*images), array_shapes(min_dims=2, max_dims=2, max_side=side))
    target = st.sampled_from([*range(CLASSES), IGNORED])

    def pair(shape: tuple[int, tuple[int, int]]) -> st.SearchStrategy[Pair]:
        whole = (shape[0], *shape[1])
        return st.tuples(arrays(np.int64, whole, elements=st.integers(0, 2)), arrays(np.int64, whole, elements=target))

    return shapes.flatmap(pair)


@settings(deadline=None, max_examples=60)
@given(pair=masks(images=(0, 3)), narrow=st.booleans())
@example(pair=NOTHING_LABELLED, narrow=False)
@example(pair=NO_IMAGE, narrow=True)
@example(pair=ONE_ROW, narrow=True)
def test_counts_and_scores_are_sklearns(pair: Pair, narrow: bool) -> None:
    prediction, target = pair
    dtype = torch.uint8 if narrow else torch.int64
    metric = SegmentationMetrics(SPACE)
    metric.update(torch.from_numpy(prediction).to(dtype), torch.from_numpy(target).to(dtype))
    ours = {name: float(value) for name, value in metric.compute().items()}
    guess, truth = prediction[target != IGNORED], target[target != IGNORED]
    if not len(truth):
        assert metric.confusion.sum() == 0
        assert all(np.isnan(value) for value in ours.values())
        return
    np.testing.assert_array_equal(metric.confusion, sk.confusion_matrix(truth, guess, labels=range(CLASSES)))
    present = sorted({*truth, *guess})
    macro = {"labels": present, "average": "macro", "zero_division": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single class
        assert ours["mIoU"] == pytest.approx(sk.jaccard_score(truth, guess, **macro))
        assert ours["mDice"] == pytest.approx(sk.f1_score(truth, guess, **macro))
        assert ours["mPrecision"] == pytest.approx(sk.precision_score(truth, guess, **macro))
        assert ours["mRecall"] == pytest.approx(sk.recall_score(truth, guess, **macro))
        assert ours["pixel_accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
        assert ours["kappa"] == pytest.approx(sk.cohen_kappa_score(truth, guess), nan_ok=True)
    assert metric.absent == tuple(SPACE.names[c] for c in range(CLASSES) if c not in present)


@settings(deadline=None, max_examples=50)
@given(pair=masks(images=(1, 1)), area=st.integers(2, 20))
@example(pair=NOTHING_LABELLED, area=5)
@example(pair=ONE_ROW, area=2)
def test_small_objects_are_scipys(pair: Pair, area: int) -> None:
    prediction, target = pair[0][0], pair[1][0]
    ours = small_object_counts(prediction, target, CLASSES, area)
    for index in range(CLASSES):
        objects, number = ndimage.label(target == index, np.ones((3, 3)))
        small = [objects == i for i in range(1, number + 1) if (objects == i).sum() < area]
        found = sum((prediction[each] == index).mean() >= 0.5 for each in small)
        assert ours[:, index].tolist() == [found, len(small)]


@settings(deadline=None, max_examples=40)
@given(pair=masks(images=(0, 2)))
@example(pair=NO_IMAGE)
@example(pair=ONE_ROW)
def test_any_shape_predicted_perfectly_scores_one(pair: Pair) -> None:
    target = torch.from_numpy(pair[1])
    metric = SpatialMetrics(SPACE)
    metric.update(target.where(target != IGNORED, torch.from_numpy(pair[0])), target)
    assert all(value.isnan() or value == 1 for value in metric.compute().values())
