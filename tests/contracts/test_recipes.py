"""What every augmentation recipe promises. A new recipe is one more line in RECIPES."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from perpixel.augment import Default, Light, Plain, Recipe, Strong
from perpixel.labels import PADDING_INDEX

RECIPES: list[Callable[..., Recipe]] = [Plain, Light, Default, Strong]
SIZE = (40, 56)
ROOT = Path(__file__).parents[2]

every_recipe = pytest.mark.parametrize("make", RECIPES, ids=lambda make: make.__name__)
every_input = pytest.mark.parametrize("shape", [(40, 56), (97, 131), (23, 31), (61, 40)], ids=str)


def sample(shape: Sequence[int], channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*shape, channels), np.uint8), rng.integers(0, 5, shape).astype(np.uint8)


@every_recipe
@every_input
def test_gives_its_size_and_only_values_that_were_there(make: Callable[..., Recipe], shape: tuple[int, int]) -> None:
    image, mask = sample(shape)
    recipe = make(size=SIZE, fill=77)
    for seed in range(20):
        new_image, new_mask = recipe(image, mask, np.random.default_rng(seed))
        assert new_image.shape == (*SIZE, 3)
        assert new_image.dtype == np.uint8
        assert new_mask.shape == SIZE
        assert new_mask.dtype == np.uint8
        assert set(np.unique(new_mask)) <= {0, 1, 2, 3, 4, 77}


@every_recipe
def test_is_a_pure_function_of_the_generator(make: Callable[..., Recipe]) -> None:
    image, mask = sample((64, 80))
    recipe, other = make(size=SIZE), make(size=SIZE)
    first = [recipe(image, mask, np.random.default_rng(seed)) for seed in range(8)]
    backwards = [other(image, mask, np.random.default_rng(seed)) for seed in reversed(range(8))][::-1]
    for (image_a, mask_a), (image_b, mask_b) in zip(first, backwards, strict=True):
        np.testing.assert_array_equal(image_a, image_b)
        np.testing.assert_array_equal(mask_a, mask_b)
    assert len({image.tobytes() for image, _ in first}) > 1


@every_recipe
def test_leaves_its_input_alone(make: Callable[..., Recipe]) -> None:
    image, mask = sample((64, 80))
    image.flags.writeable = mask.flags.writeable = False
    before = image.copy(), mask.copy()
    recipe = make(size=SIZE)
    for seed in range(10):
        recipe(image, mask, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


@every_recipe
def test_never_lets_colours_touch_the_mask(make: Callable[..., Recipe]) -> None:
    """The same geometry, whatever the image shows."""
    image, mask = sample((64, 80))
    recipe = make(size=SIZE)
    for seed in range(10):
        _, mask_a = recipe(image, mask, np.random.default_rng(seed))
        _, mask_b = recipe(255 - image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(mask_a, mask_b)


@every_recipe
def test_pads_small_images_with_the_fill_value(make: Callable[..., Recipe]) -> None:
    image, mask = sample((8, 8))
    masks = [make(size=SIZE)(image, mask, np.random.default_rng(seed))[1] for seed in range(5)]
    assert all((mask == PADDING_INDEX).mean() > 0.3 for mask in masks)


@every_recipe
def test_yaml_lists_every_argument(make: Callable[..., Recipe]) -> None:
    """Only listed keys can be overridden; size and fill are the data's."""
    configs = [OmegaConf.load(path) for path in (ROOT / "conf" / "augment").glob("*.yaml")]
    [config] = [c for c in configs if c["_target_"] == f"perpixel.augment.{make.__name__}"]
    assert set(config) - {"_target_"} == set(inspect.signature(make).parameters) - {"size", "fill"}


@every_recipe
def test_refuses_a_size_that_is_none(make: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match=r"data\.size=\[0, 5\]"):
        make(size=[0, 5])
