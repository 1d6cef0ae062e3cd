"""Intervals against scipy.stats.bootstrap and direct resampling, and what is said where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from perpixel.uncertainty import Conditions, Interval, PerImage, intervals
from perpixel.uncertainty.bootstrap import resampled_sums, weights
from perpixel.uncertainty.per_image import iou, with_mean


def drawn(number: int, classes: int = 3, seed: int = 0, groups: int | None = None) -> PerImage:
    """Images of 1000 pixels whose quality varies, between groups too."""
    rng = np.random.default_rng(seed)
    of = np.arange(number) if groups is None else np.sort(rng.integers(0, groups, number))
    quality = np.clip(0.7 + 0.1 * rng.standard_normal(of.max() + 1)[of] + 0.05 * rng.standard_normal(number), 0.1, 0.95)
    truth = rng.multinomial(1000, np.arange(1, classes + 1) / (classes * (classes + 1) / 2), number)
    tp = rng.binomial(truth, quality[:, None])
    counts = np.stack([tp, rng.binomial(truth, 0.2), truth - tp], 1)
    names = tuple(f"{place:05}" for place in range(number))
    known = {} if groups is None else {name: {"group": f"g{group}"} for name, group in zip(names, of, strict=True)}
    counted = {"names": names, "counts": counts, "sizes": np.full((number, 2), 32)}
    return PerImage.of(counted, tuple("abcdefgh"[:classes]), Conditions(known))


def test_bca_is_scipys() -> None:
    images = drawn(200)

    def statistic(*columns: np.ndarray, axis: int) -> np.ndarray:
        tp, fp, fn = np.stack(columns).sum(axis).reshape(3, 3, *columns[0].shape[:-1])
        return (tp / (tp + fp + fn)).mean(0)

    columns = tuple(images.counts.reshape(200, 9).T.astype(float))
    oracle = stats.bootstrap(
        columns, statistic, paired=True, vectorized=True, n_resamples=9999, method="BCa", batch=500, random_state=1
    ).confidence_interval
    ours = intervals(images)["mIoU"]
    assert ours.method == "bca"
    half = (oracle.high - oracle.low) / 2
    assert ours.low == pytest.approx(oracle.low, abs=0.05 * half)
    assert ours.high == pytest.approx(oracle.high, abs=0.05 * half)


def test_one_matrix_product_is_drawing_images() -> None:
    images = drawn(12)
    sums = np.concatenate([*resampled_sums(images.unit_sums, 20, np.random.default_rng(3))])
    taken = np.concatenate([*weights(12, 20, np.random.default_rng(3))]).astype(int)
    assert (taken.sum(1) == 12).all()
    for row, found in zip(taken, sums, strict=True):
        again = images.counts[np.repeat(np.arange(12), row)].sum(0)
        np.testing.assert_array_equal(found, [again[0], again.sum(0)])


def test_the_score_is_that_of_the_summed_counts_and_absent_classes_are_left_out() -> None:
    sums = np.array([[[3.0, 0.0, 1.0], [6.0, 0.0, 4.0]]])
    np.testing.assert_array_equal(with_mean(iou(sums)), [[0.375, 0.5, np.nan, 0.25]])
    assert np.isnan(with_mean(iou(np.zeros((1, 2, 3))))).all()


def test_groups_widen_what_images_alone_would_claim() -> None:
    grouped, alone = drawn(240, groups=20), drawn(240, groups=20)
    alone = PerImage(alone.names, alone.counts, alone.classes, alone.sizes)
    by_group, by_image = intervals(grouped)["mIoU"], intervals(alone)["mIoU"]
    assert (by_group.method, by_group.units, by_group.units_are) == ("jackknife", 20, "groups")
    assert (by_image.method, by_image.units, by_image.units_are) == ("bca", 240, "images")
    assert by_group.half > 1.5 * by_image.half


def test_jackknife_and_bootstrap_agree_where_both_serve() -> None:
    fewer, more = (intervals(drawn(number, seed=5))["mIoU"] for number in (149, 150))
    assert (fewer.method, more.method) == ("jackknife", "bca")
    assert fewer.half == pytest.approx(more.half, rel=0.15)


@pytest.mark.parametrize("number", [1, 5])
def test_under_six_there_is_none_and_it_says_why(number: int) -> None:
    found = intervals(drawn(40, groups=number, seed=2))["mIoU"]
    assert found.low is None
    assert found.half is None
    assert found.why == f"no interval: {number} {'group' if number == 1 else 'groups'}, and it takes 6"


def test_a_class_counts_the_images_that_hold_it() -> None:
    images = drawn(40)
    images.counts[4:, :, 2] = 0
    images.counts[:, :, 1] = 0
    found = intervals(images)
    assert found["IoU/c"].why.startswith("no interval: 4 images")
    assert found["IoU/a"].units == 40
    assert "IoU/b" not in found


def test_a_perfect_score_has_none_and_one_near_it_stays_below_one() -> None:
    images = drawn(30, classes=1)
    images.counts[:, 1:] = 0
    less = images.counts.copy()
    less[3, 2] = 40
    assert "none of 30 images changes the score" in intervals(images)["mIoU"].why
    near = intervals(replace(images, counts=less))["mIoU"]
    assert 0.99 < near.low < near.high <= 1


def test_intervals_are_repeatable_and_survive_json() -> None:
    images = drawn(160)
    first = intervals(images)
    assert first == intervals(images)
    assert {name: Interval.read(one.plain()) for name, one in first.items()} == first
    none = intervals(drawn(3))["mIoU"]
    assert Interval.read(none.plain()) == none
    assert Interval.read({"low": 1}) is Interval.read(None) is None


def test_no_images_have_no_intervals() -> None:
    assert intervals(PerImage((), np.zeros((0, 3, 2), np.int64), ("a", "b"), np.zeros((0, 2), np.int64))) == {}
