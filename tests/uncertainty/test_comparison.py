"""Two runs and many: paired tests, Holm, seeds as a second level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from perpixel.uncertainty import Measured, PerImage, compare, contrast, holm, mean_weights
from perpixel.uncertainty.per_image import iou, with_mean


def run_on(number: int, quality: float, seed: int, images_seed: int = 0) -> PerImage:
    """A run of some quality: how hard an image is and what is in it is the same for all runs."""
    images, own = np.random.default_rng(images_seed), np.random.default_rng(seed)
    truth = images.multinomial(2000, (0.5, 0.3, 0.2), number)
    hard = 0.15 * images.standard_normal((number, 1))
    kept = np.clip(quality + hard + 0.02 * own.standard_normal((number, 3)), 0.05, 0.95)
    tp = own.binomial(truth, kept)
    counts = np.stack([tp, own.binomial(truth, 0.1), truth - tp], 1)
    names = tuple(f"{place:05}" for place in range(number))
    return PerImage(names, counts, ("a", "b", "c"), np.full((number, 2), 32))


def miou(images: PerImage) -> float:
    return float(with_mean(iou(images.unit_sums.sum(0)))[0])


@pytest.mark.parametrize("number", [40, 200])
def test_pairing_finds_what_lies_within_both_intervals(number: int) -> None:
    better, worse = run_on(number, 0.72, 1), run_on(number, 0.70, 2)
    found = compare(better, worse, resamples=2000)
    assert found.difference == pytest.approx(miou(better) - miou(worse))
    assert found.low is not None
    assert 0 < found.low < found.difference < found.high < 0.05
    assert found.p < 0.01
    back = compare(worse, better, resamples=2000)
    assert back.difference == -found.difference
    assert back.p == pytest.approx(found.p, abs=0.01)


def test_few_images_are_exchanged_in_all_ways_as_scipys_permutation_test_does() -> None:
    ours, theirs = run_on(9, 0.70, 3), run_on(9, 0.69, 4)

    def difference(first: np.ndarray, second: np.ndarray) -> float:
        a, b = (
            np.stack([ours.unit_sums, theirs.unit_sums])[side.astype(int), np.arange(9)] for side in (first, second)
        )
        return float(with_mean(iou(a.sum(0)))[0] - with_mean(iou(b.sum(0)))[0])

    oracle = stats.permutation_test(
        (np.zeros(9), np.ones(9)), difference, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert compare(ours, theirs).p == pytest.approx(oracle.pvalue, abs=2 / 2**9)


def test_equal_runs_are_rarely_told_apart() -> None:
    ps = [compare(run_on(20, 0.7, seed), run_on(20, 0.7, 1000 + seed, 0), resamples=300).p for seed in range(100)]
    assert 0.0 <= np.mean(np.array(ps) < 0.05) <= 0.12
    assert 0.3 < np.mean(ps) < 0.7


def test_order_of_images_does_not_matter_but_images_do() -> None:
    ours, theirs = run_on(20, 0.7, 1), run_on(20, 0.6, 2)
    assert compare(ours, theirs.chosen(np.arange(19, -1, -1))) == compare(ours, theirs)
    fewer = compare(ours, theirs.chosen(np.arange(19)))
    assert np.isnan(fewer.difference)
    assert fewer.why == "not scored on the same images"
    assert compare(ours, run_on(20, 0.7, 2, images_seed=9)).why == "not scored on the same images"  # another truth
    assert compare(ours.chosen(range(4)), theirs.chosen(range(4))).why == "no test: 4 images, and it takes 6"


def test_holm_is_the_step_down_rule() -> None:
    ps = [0.01, 0.04, 0.03, 0.005]
    assert holm(ps) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm 1979; R: p.adjust(ps, "holm")
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.9, None, 0.8]) == [1.0, None, 1.0], "what is no test does not count"


def test_a_mean_over_seeds_is_less_sure_than_one_run_alone_says() -> None:
    spread = {seed: run_on(60, quality, seed) for seed, quality in enumerate((0.62, 0.70, 0.78))}
    measured = Measured(spread)
    both = contrast(measured, mean_weights(list(spread)), dict.fromkeys(spread, "cell"), is_score=True)
    images = contrast(measured, mean_weights(list(spread)), {seed: seed for seed in spread}, is_score=True)
    assert both.value == images.value == pytest.approx(np.mean([miou(run) for run in spread.values()]))
    assert (both.over_seeds, images.over_seeds) == (True, False)
    assert both.high - both.low > 2 * (images.high - images.low)
    assert 0 < both.low < both.high < 1


def test_an_interaction_is_the_difference_of_differences() -> None:
    quality = {("x", "p"): 0.60, ("x", "q"): 0.65, ("y", "p"): 0.70, ("y", "q"): 0.60}
    runs = {
        (*cell, seed): run_on(80, value, 7 * place + seed)
        for place, (cell, value) in enumerate(quality.items())
        for seed in range(3)
    }
    signs = {("x", "p"): 1, ("x", "q"): -1, ("y", "p"): -1, ("y", "q"): 1}
    found = contrast(Measured(runs), {key: signs[key[:2]] / 3 for key in runs}, {key: key[:2] for key in runs})
    means = {cell: np.mean([miou(runs[*cell, seed]) for seed in range(3)]) for cell in quality}
    assert found.value == pytest.approx(sum(signs[cell] * means[cell] for cell in signs))
    assert found.high < 0
    assert found.p < 0.001
    nothing = contrast(Measured(runs), dict.fromkeys(runs, 0.0), {key: key[:2] for key in runs})
    assert nothing.why == "no interval: nothing varies"


def test_a_contrast_of_runs_on_other_images_has_no_interval() -> None:
    runs = {0: run_on(20, 0.7, 1), 1: run_on(20, 0.7, 2, images_seed=5)}
    found = contrast(Measured(runs), {0: 1, 1: -1}, {0: 0, 1: 1})
    assert found.why == "no interval: not scored on the same images"
    assert found.value == pytest.approx(miou(runs[0]) - miou(runs[1]))


@pytest.mark.parametrize("seeds", [2, 4])
def test_hierarchical_intervals_hold_the_truth(seeds: int) -> None:
    """The truth: what the mean of ever more seeds scores on ever more images (here 0.5 by construction)."""
    held = 0
    for repeat in range(300):
        rng = np.random.default_rng(repeat)
        hard, trained = rng.normal(0, 0.04, 40), rng.normal(0, 0.03, seeds)
        runs = {}
        for seed in range(seeds):
            tp = np.rint(1e6 * (0.5 + hard + trained[seed] + rng.normal(0, 0.02, 40))).astype(np.int64)
            counts = np.stack([tp, np.zeros_like(tp), 10**6 - tp], 1)[:, :, None]
            names = tuple(map(str, range(40)))
            runs[seed] = PerImage(names, counts, ("a",), np.ones((40, 2), np.int64))
        found = contrast(Measured(runs), mean_weights(list(runs)), dict.fromkeys(runs, 0), is_score=True)
        held += found.low <= 0.5 <= found.high
    assert 0.93 <= held / 300 <= 0.995
