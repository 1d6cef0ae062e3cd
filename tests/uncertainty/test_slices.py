"""Scores of parts of a split."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perpixel.uncertainty import Conditions, PerImage, Slice, slices

NAMES = tuple(f"{place:02}" for place in range(24))


def images(sizes: np.ndarray) -> PerImage:
    counts = np.zeros((24, 3, 3), np.int64)
    counts[:, 0], counts[:, 2] = 60, np.arange(24)[:, None]
    counts[8:, :, 2] = 0
    known = {
        name: {"camera": "bus" if place % 3 else "car", "group": f"g{place // 12}"} for place, name in enumerate(NAMES)
    }
    counted = {"names": NAMES, "counts": counts, "sizes": sizes}
    return PerImage.of(counted, ("a", "b", "c"), Conditions(known))


def test_a_slice_scores_as_its_images_alone_do() -> None:
    whole = images(np.full((24, 2), 32))
    found = {(one.condition, one.value): one for one in slices(whole)}
    assert {condition for condition, _ in found} == {"camera", "group"}
    bus = found["camera", "bus"]
    counts = whole.counts[[place for place in range(24) if place % 3]].sum(0)
    assert bus.images == 16
    assert bus.score == pytest.approx((counts[0] / counts.sum(0)).mean())
    assert found["group", "g1"].classes == 2
    assert found["group", "g0"].classes == 3
    assert found["group", "g0"].interval.why == "no interval: 1 group, and it takes 6"


def test_worst_comes_first_and_json_keeps_all() -> None:
    found = slices(images(np.full((24, 2), 32)))
    groups = [one for one in found if one.condition == "group"]
    assert groups[0].score <= groups[1].score
    assert [Slice.read(one) for one in json.loads(json.dumps([one.plain() for one in found]))] == found
    assert Slice.read({"condition": "camera"}) is Slice.read(None) is None


@pytest.mark.parametrize("kinds", [2, 12])
def test_image_sizes_are_slices_where_they_vary(kinds: int) -> None:
    sides = 16 + np.arange(24) % kinds
    found = [one for one in slices(images(np.stack([sides, sides], 1))) if one.condition == "image size"]
    assert sum(one.images for one in found) == 24
    assert {one.value for one in found} == {"16×16", "17×17"} if kinds == 2 else len(found) == 3
