"""Where errors lie, against counts by hand and a slow oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from perpixel.labels import LabelSpace
from perpixel.metrics import ErrorPlaces
from perpixel.metrics.error_places import boundary_distance

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)


def test_errors_are_counted_by_distance() -> None:
    truth = torch.zeros(1, 40, 40, dtype=torch.int64)
    truth[:, :, 20:] = 1  # columns 19 and 20 are 1 away, 18 and 21 are 2 away, …
    guess = truth.clone()
    guess[0, 0, [19, 17, 16, 12, 10, 9]] = 1  # 1, 3, 4, 8, 10 and 11 away
    metric = ErrorPlaces(SPACE)
    metric.update(guess, truth)
    found = metric.compute()
    assert metric.details["errors_by_distance"]["wrong"] == [1, 1, 1, 2, 1]
    assert metric.details["errors_by_distance"]["pixels"] == [80, 160, 160, 400, 800]
    assert float(found["errors_near_boundary"]) == pytest.approx(2 / 6)


def test_distance_is_that_to_the_nearest_pixel_beside_another_class() -> None:
    rng = np.random.default_rng(0)
    truth = (ndimage.gaussian_filter(rng.standard_normal((50, 60)), 5) > 0).astype(np.uint8)
    truth[:4] = 3  # unlabelled: no boundary
    padded = np.pad(truth, 1, constant_values=3)
    edge = np.zeros(truth.shape, bool)
    for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
        other = padded[row : row + 50, column : column + 60]
        edge |= (other != truth) & (other != 3) & (truth != 3)
    np.testing.assert_allclose(boundary_distance(truth, 3), ndimage.distance_transform_edt(~edge) + 1, atol=1e-4)
    assert np.isinf(boundary_distance(np.zeros((4, 4), np.uint8), 3)).all()


def test_components_of_which_nothing_is_right_are_missed_or_invented() -> None:
    truth = torch.zeros(1, 64, 64, dtype=torch.int64)
    truth[0, 2:6, 2:6] = 1  # found in part
    truth[0, 20:24, 20:24] = 1  # missed
    truth[0, 40:60, 40:60] = 2  # missed, 400 pixels
    truth[0, 6, 6] = 1  # belongs to the first over its corner
    guess = torch.zeros_like(truth)
    guess[0, 2, 2] = 1
    guess[0, 30:34, 2:6] = 1  # invented
    guess[0, 50, 50] = 1  # invented, within class c
    metric = ErrorPlaces(SPACE)
    metric.update(guess, truth)
    found = metric.compute()
    parts = metric.details["components"]
    assert parts["truth"] == [2, 1, 1, 0]
    assert parts["missed"] == [1, 1, 0, 0]
    assert parts["predicted"] == [3, 0, 1, 0]
    assert parts["invented"] == [2, 0, 0, 0]
    assert float(found["missed_components"]) == pytest.approx(2 / 4)
    assert float(found["invented_components"]) == pytest.approx(2 / 4)


def test_void_is_neither_missed_nor_invented() -> None:
    truth = torch.full((1, 16, 16), 255)
    truth[:, :, :8] = 0
    guess = torch.ones(1, 16, 16, dtype=torch.int64)
    guess[:, :, :8] = 0
    metric = ErrorPlaces(SPACE)
    metric.update(guess, truth)
    found = metric.compute()
    assert sum(metric.details["components"]["predicted"]) == 1
    assert float(found["missed_components"]) == float(found["invented_components"]) == 0
    assert found["errors_near_boundary"].isnan()
