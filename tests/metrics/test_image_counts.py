"""The counts of all images together are those of the confusion matrix, to the integer."""

from __future__ import annotations

import pytest
import torch

from perpixel.labels import LabelSpace
from perpixel.metrics import ImageCounts, SegmentationMetrics

SPACE = LabelSpace(("a", "b", "c", "d"), ((0, 0, 0),) * 4)


@pytest.mark.parametrize("integers", [False, True])
def test_images_sum_to_the_confusion_matrix(integers: bool) -> None:
    each, whole = ImageCounts(SPACE), SegmentationMetrics(SPACE)
    for number, size in enumerate([(9, 7), (5, 6), (9, 7)]):
        logits, target = torch.randn(3, 4, *size), torch.randint(0, 4, (3, *size))
        target[:, 0] = 255
        given = logits.argmax(1) if integers else logits
        each.update(given, target, [f"{9 - 3 * number - place}" for place in range(3)])
        whole.update(given, target)
    each.compute()
    found, confusion = each.details["images"], whole.confusion.numpy()
    assert found["names"] == tuple("123456789")  # in order, whatever came first
    assert found["counts"].dtype == "int64"
    tp, fp, fn = found["counts"].sum(0)
    assert (tp == confusion.diagonal()).all()
    assert (fp == confusion.sum(0) - tp).all()
    assert (fn == confusion.sum(1) - tp).all()
    assert found["sizes"].tolist() == [[9, 7]] * 3 + [[5, 6]] * 3 + [[9, 7]] * 3


def test_one_image_is_counted_as_if_alone() -> None:
    each, alone = ImageCounts(SPACE), SegmentationMetrics(SPACE)
    prediction, target = torch.randint(0, 4, (3, 8, 8)), torch.randint(0, 4, (3, 8, 8))
    each.update(prediction, target, ["x", "y", "z"])
    alone.update(prediction[1:2], target[1:2])
    each.compute()
    tp, fp, fn = each.details["images"]["counts"][1]
    assert tp.tolist() == alone.confusion.diagonal().tolist()
    assert (tp + fp).tolist() == alone.confusion.sum(0).tolist()
    assert (tp + fn).tolist() == alone.confusion.sum(1).tolist()


def test_images_without_names_are_numbered_and_a_reset_forgets_them() -> None:
    each = ImageCounts(SPACE)
    for _ in range(2):
        each.update(torch.randint(0, 4, (2, 4, 4)), torch.randint(0, 4, (2, 4, 4)))
    each.compute()
    assert each.details["images"]["names"] == ("00000000", "00000001", "00000002", "00000003")
    each.reset()
    each.compute()
    assert each.details["images"]["counts"].shape == (0, 3, 4)
