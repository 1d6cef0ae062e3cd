from __future__ import annotations

import numpy as np
import pytest

from perpixel.data.files.class_pixels import added_up
from perpixel.labels import PixelCounts
from perpixel.losses.weights import effective_number, inverse_log, median_frequency, resolve, resolve_all

COUNTS = PixelCounts(pixels=[900, 90, 10, 0], room=[1000, 500, 100, 0])


def test_rules_are_the_papers() -> None:
    assert median_frequency(COUNTS) == pytest.approx([0.18 / 0.9, 1.0, 0.18 / 0.1, 0.0])
    assert inverse_log(COUNTS) == pytest.approx([1 / np.log(1.92), 1 / np.log(1.11), 1 / np.log(1.03), 0.0])
    raw = [(1 - 0.99) / (1 - 0.99**n) for n in COUNTS.pixels[:3]]
    assert effective_number(COUNTS, 0.99) == pytest.approx([*(3 * w / sum(raw) for w in raw), 0.0])
    assert effective_number(COUNTS, 0.0) == [1.0, 1.0, 1.0, 0.0]


def test_frequencies_are_of_the_images_that_show_the_class() -> None:
    """Eigen & Fergus 2015: 140 of 200 pixels, 55 of 200, 5 of the 100 of the second image."""
    found = median_frequency(added_up(np.array([[60, 40, 0, 0], [80, 15, 5, 0]])))
    assert found == pytest.approx([0.275 / 0.7, 1.0, 0.275 / 0.05, 0.0])
    assert median_frequency(added_up(np.zeros((2, 2), int))) == [0.0, 0.0]
    assert median_frequency(added_up(np.zeros((0, 2), int))) == [0.0, 0.0]


@pytest.mark.parametrize("beta", ["abc", "", "1", "-0.1"])
def test_a_wrong_beta_is_told(beta: str) -> None:
    with pytest.raises(ValueError, match=f"class_weights=effective_number:{beta}.*β"):
        resolve(f"effective_number:{beta}", lambda: COUNTS)


def test_resolve_counts_only_when_a_rule_asks() -> None:
    def never() -> PixelCounts:
        raise AssertionError("counted for nothing")

    assert resolve("none", never) is None
    assert resolve(None, never) is None
    assert resolve([1, 2], never) == [1.0, 2.0]
    assert resolve("effective_number:0.99", lambda: COUNTS) == effective_number(COUNTS, 0.99)
    for wrong in ("median", "inverse_log:0.5"):
        with pytest.raises(ValueError, match="median_frequency, effective_number, inverse_log"):
            resolve(wrong, never)


def test_resolve_reaches_the_parts_of_a_sum() -> None:
    node = {
        "losses": [{"class_weights": "inverse_log", "gamma": 2.0}, {"class_weights": "none"}],
        "weights": [1.0, [0, 1]],
    }
    resolved = resolve_all(node, lambda: COUNTS)
    assert resolved == {
        "losses": [{"class_weights": inverse_log(COUNTS), "gamma": 2.0}, {"class_weights": None}],
        "weights": [1.0, [0, 1]],
    }
    assert node["losses"][0]["class_weights"] == "inverse_log"
