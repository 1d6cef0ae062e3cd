from __future__ import annotations

import numpy as np
import pytest

from perpixel.augment import Light, Medical, Satellite
from perpixel.augment.crop import RandomScaleCrop, cut

rng = np.random.default_rng


def rare(shape: tuple[int, int] = (200, 300)) -> tuple[np.ndarray, np.ndarray]:
    """One object of 4 × 4 pixels in a large image."""
    mask = np.zeros(shape, np.uint8)
    mask[150:154, 40:44] = 1
    return np.zeros((*shape, 3), np.uint8), mask


def test_focus_finds_the_small_object() -> None:
    def share(focus: float) -> float:
        recipe = Light(size=(40, 40), focus=focus)
        return float(np.mean([(recipe(*rare(), rng(seed))[1] == 1).any() for seed in range(300)]))

    assert share(0.0) < 0.1
    assert 0.4 < share(0.9) < 0.65  # half of the focused windows are laid around class 0


def test_focus_sees_small_objects_as_often_as_large_ones() -> None:
    mask = np.full((200, 300), 255, np.uint8)
    mask[20:180, 20:140] = mask[150:153, 250:253] = 1  # of one class: 19,200 pixels and 9
    recipe = Light(size=(40, 40), focus=1.0, horizontal_flip=0)
    found = [(recipe(np.zeros((200, 300, 3), np.uint8), mask, rng(seed))[1] == 1).sum() <= 9 for seed in range(200)]
    assert 0.4 < np.mean(found) < 0.6


def test_focus_never_looks_for_padding() -> None:
    image, mask = rare()
    mask[mask == 0] = 255
    recipe = Light(size=(40, 40), focus=1.0, fill=255)
    assert all((recipe(image, mask, rng(seed))[1] == 1).any() for seed in range(20))
    recipe(image, np.full_like(mask, 255), rng(0))


def test_focused_windows_stay_within_the_image() -> None:
    recipe = Light(size=(40, 40), focus=1.0, fill=77)
    mask = np.zeros((60, 60), np.uint8)
    mask[0, 0] = mask[59, 59] = 1
    assert all((recipe(np.zeros((60, 60, 3), np.uint8), mask, rng(seed))[1] != 77).all() for seed in range(50))


def test_every_place_is_equally_likely() -> None:
    columns = np.tile(np.arange(50, dtype=np.uint8), (50, 1))
    recipe = Light(size=(40, 40), horizontal_flip=0)
    starts = [int(recipe(np.zeros((50, 50, 3), np.uint8), columns, rng(seed))[1][0, 0]) for seed in range(2200)]
    counts = np.bincount(starts, minlength=11)
    assert len(counts) == 11
    np.testing.assert_allclose(counts, 200, atol=60)


def test_cut_pads_what_lies_outside() -> None:
    values = np.arange(6).reshape(2, 3)
    assert cut(values, (-1, 1, 3, 3), 9).tolist() == [[9, 9, 9], [1, 2, 9], [4, 5, 9]]


@pytest.mark.parametrize("wrong", [{"scale": (0, 1)}, {"scale": (2, 1)}, {"focus": 1.5}])
def test_mistakes(wrong: dict) -> None:
    with pytest.raises(ValueError, match=rf"augment\.{next(iter(wrong))}="):
        RandomScaleCrop((4, 4), **wrong)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("make", [Satellite, Medical])
def test_any_bands_and_depth(make: type, dtype: type) -> None:
    full = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    image = (rng(0).random((64, 64, 7)) * full).astype(dtype)
    for seed in range(25):
        result, _ = make(size=(32, 32))(image, np.zeros((64, 64), np.uint8), rng(seed))
        assert result.dtype == dtype
        assert result.shape == (32, 32, 7)
        assert dtype is np.float32 or 0 <= result.min() <= result.max() <= full
        assert np.abs(result.mean() / full - 0.5) < 0.45
