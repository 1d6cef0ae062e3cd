"""Edges, thin structures and small objects against SciPy, on masks that hypothesis draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from perpixel.labels import LabelSpace
from perpixel.metrics import SpatialMetrics
from perpixel.metrics.edges import edge_counts, inner_edge, pixels_of_diagonal
from perpixel.metrics.structures import small_object_counts, thin_pixels

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = np.kron(rng.integers(0, 3, (6, 7)), np.ones((5, 4), np.int64))
    prediction = np.roll(target, tuple(rng.integers(-2, 3, 2)), (0, 1))
    target[rng.random(target.shape) < 0.05] = 255
    return prediction, target


def scipy_edge(mask: np.ndarray, band: int) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=band, border_value=0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), band=st.integers(1, 4), tolerance=st.sampled_from([1.0, 1.4143, 2.0, 3.0]))
def test_edge_counts_are_scipys(seed: int, band: int, tolerance: float) -> None:
    prediction, target = masks(seed)
    ours = np.stack(edge_counts(prediction, target, 3, band, tolerance))
    labelled = target != 255
    for index in range(3):
        truth, guess = (target == index) & labelled, (prediction == index) & labelled
        bands, lines = [scipy_edge(m, band) for m in (truth, guess)], [scipy_edge(m, 1) for m in (truth, guess)]
        near = [
            ndimage.distance_transform_edt(~line) <= tolerance + 1e-3 if line.any() else np.zeros_like(line)
            for line in lines
        ]
        expected = [
            (bands[0] & bands[1]).sum(),
            (bands[0] | bands[1]).sum(),
            (lines[0] & near[1]).sum(),
            lines[0].sum(),
            (lines[1] & near[0]).sum(),
            lines[1].sum(),
        ]
        assert ours[:, index].tolist() == expected


def test_the_images_border_is_an_edge() -> None:
    assert inner_edge(np.ones((5, 5), bool), 1).sum() == 16


@pytest.mark.parametrize("width", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("turn", [False, True])
def test_stripes_narrower_than_the_width_are_thin(width: int, turn: bool) -> None:
    for stripe, thin in ((width - 1, True), (width, False)):
        mask = np.zeros((40, 30), bool)
        mask[10 : 10 + stripe] = True
        found = thin_pixels(mask.T if turn else mask, width)
        np.testing.assert_array_equal(found, (mask.T if turn else mask) & thin)


def test_a_wire_on_a_block_is_thin_and_the_block_with_its_corners_is_not() -> None:
    mask = np.zeros((60, 60), bool)
    mask[5:25, 5:25] = True
    mask[14:16, 25:55] = True
    thin = thin_pixels(mask, 6)
    assert not thin[5:25, 5:25].any()
    assert thin[14:16, 28:55].all()


def test_a_diagonal_wire_is_thin_and_a_diagonal_bar_is_not() -> None:
    rows, columns = np.mgrid[:80, :80]
    across = np.abs(rows - columns) / np.sqrt(2)
    assert thin_pixels(across <= 1.5, 6)[20:60, 20:60].sum() == (across <= 1.5)[20:60, 20:60].sum()
    assert not thin_pixels(across <= 5, 6)[20:60, 20:60].any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_small_objects_are_scipys_components(seed: int) -> None:
    prediction, target = masks(seed)
    ours = small_object_counts(prediction, target, 3, 30)
    for index in range(3):
        objects, number = ndimage.label(target == index, np.ones((3, 3)))
        small = [objects == i for i in range(1, number + 1) if (objects == i).sum() < 30]
        found = sum((prediction[each] == index).mean() >= 0.5 for each in small)
        assert ours[:, index].tolist() == [found, len(small)]


def test_a_perfect_prediction_scores_one_and_absent_classes_nan() -> None:
    metric = SpatialMetrics(SPACE, thin_width=3, small_area=50)
    target = torch.zeros(2, 40, 50, dtype=torch.int64)
    target[:, 5:9, 5:9], target[:, 30, :] = 1, 1
    metric.update(target, target)
    values = metric.compute()
    for score in ("BoundaryIoU", "BoundaryF", "thin_recall", "small_object_recall"):
        assert values[f"m{score}"] == 1
        assert values[f"{score}/b"] == 1
        assert values[f"{score}/c"].isnan()


def test_ignored_pixels_do_not_count() -> None:
    prediction, target = (torch.from_numpy(mask)[None] for mask in masks(1))
    one, other = SpatialMetrics(SPACE), SpatialMetrics(SPACE)
    one.update(prediction, target)
    other.update(torch.where(target == 255, (prediction + 1) % 3, prediction), target)
    for state in ("edges", "thin", "small"):
        assert torch.equal(getattr(one, state), getattr(other, state))


def test_images_add_up() -> None:
    pairs = [tuple(torch.from_numpy(mask)[None] for mask in masks(seed)) for seed in range(3)]
    whole, parts = SpatialMetrics(SPACE), [SpatialMetrics(SPACE) for _ in pairs]
    whole.update(torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs]))
    for part, pair in zip(parts, pairs, strict=True):
        part.update(*pair)
    assert torch.equal(whole.edges, sum(part.edges for part in parts))


def test_share_of_the_diagonal() -> None:
    assert pixels_of_diagonal(0.02, 300, 400) == 10
    assert pixels_of_diagonal(0.0001, 3, 4) == 1
