from __future__ import annotations

import numpy as np
import pytest

from perpixel.augment import Default, Light, Recipe, Strong
from perpixel.augment.backend import A
from perpixel.augment.recipe import _leaves

rng = np.random.default_rng


def grey(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)


def test_flips_are_independent() -> None:
    """Streams that albumentations seeds alike make both flips fire together, in 100 % of samples."""
    corners = np.arange(4, dtype=np.uint8).reshape(2, 2)
    recipe = Light(size=(2, 2), horizontal_flip=0.5, vertical_flip=0.5)
    upper_left = [int(recipe(np.zeros((2, 2, 3), np.uint8), corners, rng(seed))[1][0, 0]) for seed in range(2000)]
    share = np.bincount(upper_left, minlength=4) / 2000  # neither, horizontal, vertical, both
    np.testing.assert_allclose(share, 0.25, atol=0.04)


def test_flips_and_colours_are_independent() -> None:
    """Each of two flips and an inversion of the image fires in half the samples, and any two together in a quarter."""
    size = (2, 2)
    recipe = Recipe(
        size,
        255,
        None,
        geometry=[A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)],
        colour=[A.InvertImg(p=0.5)],
    )
    corners, black = np.arange(4, dtype=np.uint8).reshape(size), np.zeros((*size, 3), np.uint8)
    fired = []
    for seed in range(2000):
        image, mask = recipe(black, corners, rng(seed))
        fired.append([mask[0, 0] % 2, mask[0, 0] // 2, image[0, 0, 0] // 255])
    both = np.cov(np.array(fired, float).T)
    np.testing.assert_allclose(np.mean(fired, axis=0), 0.5, atol=0.04)
    np.testing.assert_allclose(both, np.eye(3) / 4, atol=0.03)


def test_additional_targets_share_the_geometry() -> None:
    image, mask = rng(0).integers(0, 256, (50, 60, 3), np.uint8), rng(1).integers(0, 5, (50, 60)).astype(np.uint8)
    recipe = Default(size=(32, 32), jitter=0, additional_targets={"second": "image", "weight": "mask"})
    result = recipe.apply({"image": image, "mask": mask, "second": image, "weight": mask}, rng(3))
    np.testing.assert_array_equal(result["image"], result["second"])
    np.testing.assert_array_equal(result["mask"], result["weight"])


def test_unknown_targets_and_kinds_are_errors() -> None:
    image, mask = grey(32, 32)
    with pytest.raises(ValueError, match="target 'depth' is unknown"):
        Light(size=(32, 32)).apply({"image": image, "mask": mask, "depth": mask}, rng(0))
    with pytest.raises(ValueError, match=r"additional_targets\.depth='float'"):
        Light(size=(32, 32), additional_targets={"depth": "float"})


def test_a_recipe_must_keep_the_size_it_promises() -> None:
    recipe = Recipe((32, 32), 255, None, geometry=[A.HorizontalFlip()])
    with pytest.raises(ValueError, match=r"promises images of \(32, 32\), but its transforms gave \(20, 20\)"):
        recipe(*grey(20, 20), rng(0))


def test_geometry_does_not_pass_as_colour() -> None:
    with pytest.raises(ValueError, match="HorizontalFlip changes masks too"):
        Recipe((32, 32), 255, None, geometry=[], colour=[A.OneOf([A.HorizontalFlip()])])


def test_many_channels_without_hue_and_saturation() -> None:
    image, mask = rng(0).integers(0, 256, (40, 40, 6), np.uint8), np.zeros((40, 40), np.uint8)
    result, _ = Default(size=(32, 32), saturation=0, hue=0, jitter=1.0)(image, mask, rng(0))
    assert result.shape == (32, 32, 6)


def test_one_channel_keeps_its_axis() -> None:
    image, mask = rng(0).integers(0, 256, (70, 70, 1), np.uint8), np.zeros((70, 70), np.uint8)
    result, _ = Light(size=(32, 32), scale=(0.5, 2))(image, mask, rng(0))
    assert result.shape == (32, 32, 1)


def test_randomness_costs_two_generators_a_sample_whatever_the_transforms() -> None:
    """The sample's own and one that is drawn from it: nothing is seeded for each transform."""
    recipe = Strong(size=(32, 32))
    rng = np.random.default_rng(0)
    recipe(np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8), rng)
    parts = [*_leaves(recipe._stages), recipe._crop]
    assert len(parts) > 6
    assert all(part.random_generator is rng for part in parts)
    assert len({id(part.py_random) for part in parts}) == 1
