"""What every augmentation recipe promises. A new recipe is one more line in RECIPES."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from perpixel.augment import (
    CopyPaste,
    CutMix,
    Default,
    Light,
    Medical,
    Mixing,
    Mosaic,
    Plain,
    Recipe,
    Satellite,
    Strong,
)
from perpixel.config import build, compose
from perpixel.labels import PADDING_INDEX

RECIPES: list[type[Recipe]] = [Plain, Light, Default, Strong, Satellite, Medical]
MIXTURES: dict[type[Mixing], dict[str, Any]] = {CutMix: {}, Mosaic: {}, CopyPaste: {"classes": [1, 2], "smallest": 1}}
SIZE = (40, 56)
ROOT = Path(__file__).parents[2]

every_recipe = pytest.mark.parametrize("make", RECIPES, ids=lambda make: make.__name__)
every_mixture = pytest.mark.parametrize("make", MIXTURES, ids=lambda make: make.__name__)
every_input = pytest.mark.parametrize("shape", [(40, 56), (97, 131), (23, 31), (61, 40)], ids=str)


def built(make: Callable[..., Recipe], **arguments: Any) -> Recipe:
    return make(size=SIZE, **arguments)


def file_of(make: type[Recipe]) -> Path:
    files = (ROOT / "conf" / "augment").glob("*.yaml")
    [file] = [path for path in files if OmegaConf.load(path)["_target_"] == f"perpixel.augment.{make.__name__}"]
    return file


def sample(shape: Sequence[int], channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*shape, channels), np.uint8), rng.integers(0, 5, shape).astype(np.uint8)


@every_recipe
@every_input
def test_gives_its_size_and_only_values_that_were_there(make: type[Recipe], shape: tuple[int, int]) -> None:
    image, mask = sample(shape)
    recipe = built(make, fill=77)
    for seed in range(20):
        new_image, new_mask = recipe(image, mask, np.random.default_rng(seed))
        assert new_image.shape == (*SIZE, 3)
        assert new_image.dtype == np.uint8
        assert new_mask.shape == SIZE
        assert new_mask.dtype == np.uint8
        assert set(np.unique(new_mask)) <= {0, 1, 2, 3, 4, 77}


@every_recipe
def test_is_a_pure_function_of_the_generator(make: type[Recipe]) -> None:
    image, mask = sample((64, 80))
    recipe, other = built(make), built(make)
    first = [recipe(image, mask, np.random.default_rng(seed)) for seed in range(8)]
    backwards = [other(image, mask, np.random.default_rng(seed)) for seed in reversed(range(8))][::-1]
    for (image_a, mask_a), (image_b, mask_b) in zip(first, backwards, strict=True):
        np.testing.assert_array_equal(image_a, image_b)
        np.testing.assert_array_equal(mask_a, mask_b)
    assert len({image.tobytes() for image, _ in first}) > 1


@every_recipe
def test_leaves_its_input_alone(make: type[Recipe]) -> None:
    image, mask = sample((64, 80))
    image.flags.writeable = mask.flags.writeable = False
    before = image.copy(), mask.copy()
    recipe = built(make)
    for seed in range(10):
        recipe(image, mask, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


@every_recipe
def test_never_lets_colours_touch_the_mask(make: type[Recipe]) -> None:
    """The same geometry, whatever the image shows."""
    image, mask = sample((64, 80))
    recipe = built(make)
    for seed in range(10):
        _, mask_a = recipe(image, mask, np.random.default_rng(seed))
        _, mask_b = recipe(255 - image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(mask_a, mask_b)


@every_recipe
def test_pads_small_images_with_the_fill_value(make: type[Recipe]) -> None:
    image, mask = sample((8, 8))
    masks = [built(make)(image, mask, np.random.default_rng(seed))[1] for seed in range(5)]
    assert all((mask == PADDING_INDEX).mean() > 0.3 for mask in masks)


@every_recipe
def test_yaml_lists_every_argument(make: type[Recipe]) -> None:
    """Only listed keys can be overridden; size and fill are the data's."""
    config = OmegaConf.load(file_of(make))
    assert set(config) - {"_target_"} == set(inspect.signature(make).parameters) - {"size", "fill"}


@every_recipe
def test_refuses_a_size_that_is_none(make: type[Recipe]) -> None:
    with pytest.raises(ValueError, match=r"data\.size=\[0, 5\]"):
        make(size=[0, 5])


SENSORS = [
    *((np.uint8, channels, 255) for channels in (1, 6)),
    *((np.uint16, channels, 65535) for channels in (1, 3, 6)),
    *((np.uint16, channels, 1500) for channels in (1, 6)),  # 12-bit counts, reflectances: they do not fill 16 bits
    *((np.float32, channels, 1500) for channels in (1, 3, 6)),
]
MENDS = {Default: {"saturation": 0, "hue": 0}, Strong: {"saturation": 0, "hue": 0, "grey": 0}}


@every_recipe
@pytest.mark.parametrize(("dtype", "channels", "top"), SENSORS, ids=str)
def test_takes_every_depth_and_keeps_its_range(make: type[Recipe], dtype: type, channels: int, top: int) -> None:
    """Nothing falls back to 8 bits or to 0…1: what a network is trained on is what it is evaluated on."""
    recipe = built(make, **(MENDS.get(make, {}) if channels == 6 else {}))
    recipe.check_channels(channels)
    rng = np.random.default_rng(0)
    image = (rng.uniform(0.4, 0.6, (64, 80, channels)) * top).astype(dtype)
    mask = rng.integers(0, 5, image.shape[:2]).astype(np.uint8)
    for seed in range(30):
        changed, new_mask = recipe(image, mask, np.random.default_rng(seed))
        inside = changed[cv2.erode((new_mask != PADDING_INDEX).astype(np.uint8), np.ones((9, 9))) > 0]
        assert (changed.dtype, changed.shape[2]) == (dtype, channels)
        if top == 1500 and inside.size:
            assert 0.1 * top < np.median(inside) < top
        if top == 65535 and inside.size and 0 < np.median(inside) < top:
            assert (inside % 257 != 0).any()


@pytest.mark.parametrize("make", MENDS, ids=lambda make: make.__name__)
def test_colours_that_many_bands_have_not_are_refused_before_training(make: type[Recipe]) -> None:
    told = "6 channels: set " + r".*augment\." + r".*augment\.".join(f"{key}=0" for key in MENDS[make])
    for recipe in (built(make), CutMix(built(make))):
        with pytest.raises(ValueError, match=told):
            recipe.check_channels(6)


@every_recipe
@pytest.mark.parametrize("mixing", MIXTURES, ids=lambda mixing: mixing.__name__)
def test_every_recipe_goes_under_every_mixture(mixing: type[Mixing], make: type[Recipe]) -> None:
    """As chosen on the command line: nothing of the default recipe is left behind."""
    over, under = file_of(mixing).stem, file_of(make).stem
    more = ["augment.classes=[1]"] if mixing is CopyPaste else []
    cfg = compose([f"augment={over}", f"augment@augment.recipe={under}", *more]).cfg
    recipe = build(cfg.augment, Recipe, "augment", size=SIZE, fill=77)
    assert type(recipe) is mixing
    assert cfg.augment.recipe == compose([f"augment={under}"]).cfg.augment


def test_a_mixture_goes_over_no_mixture() -> None:
    for inner, told in ((CutMix(built(Light)), "CutMix"), ("satellite", "satellite")):
        with pytest.raises(ValueError, match=rf"augment\.recipe={told}: .* Choose one as in augment@augment\.recipe="):
            Mosaic(inner)  # type: ignore[arg-type]


def mixture(make: type[Mixing], p: float = 1.0) -> Mixing:
    return make(recipe=Strong(size=SIZE, fill=77), p=p, **MIXTURES[make])


def targets(shape: Sequence[int]) -> dict[str, np.ndarray]:
    return dict(zip(("image", "mask"), sample(shape), strict=True))


def another(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A partner whose classes are 10 higher, but for class 1 and 2."""
    image, mask = sample((50, 70))
    return {"image": 255 - image, "mask": np.where((mask == 1) | (mask == 2), mask, mask + 10).astype(np.uint8)}


EXTRAS = {"second": "image", "parts": "mask", "weight": "weight"}


def with_extras(basic: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Extras that are functions of image and mask, and must stay so."""
    image, mask = basic["image"], basic["mask"]
    return basic | {"second": image[..., :1], "parts": mask + np.uint8(100), "weight": (mask + 1) / np.float32(8)}


def check_extras(result: dict[str, np.ndarray], unchanged: np.ndarray) -> None:
    labelled = result["mask"] != 77
    np.testing.assert_array_equal(result["parts"], np.where(labelled, result["mask"] + 100, 77))
    np.testing.assert_array_equal(result["weight"], np.where(labelled, (result["mask"] + 1) / np.float32(8), 0))
    np.testing.assert_array_equal(result["second"], unchanged[..., :1])


@every_recipe
@every_input
def test_extras_stay_with_image_and_mask(make: type[Recipe], shape: tuple[int, int]) -> None:
    """To the pixel; and colours are the first image's alone."""
    recipe = built(make, fill=77, additional_targets=EXTRAS)
    geometry = Recipe(SIZE, 77, None, geometry=recipe.geometry)
    basic = targets(shape)
    for seed in range(20):
        result = recipe.apply(with_extras(basic), np.random.default_rng(seed))
        without_colour, mask = geometry(*basic.values(), np.random.default_rng(seed))
        check_extras(result, without_colour)
        np.testing.assert_array_equal(result["mask"], mask)


@every_mixture
def test_mixtures_mix_extras_alike(make: type[Mixing]) -> None:
    """The mixtures' own recipe has no colours here: the second image is the first one's red."""
    recipe = make(recipe=Strong(size=SIZE, fill=77, jitter=0, degrade=0, grey=0), p=1.0, **MIXTURES[make])
    recipe.expect(EXTRAS)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        result = recipe.sample(with_extras(targets((61, 77))), rng, lambda rng=rng: with_extras(another(rng)))
        check_extras(result, result["image"])


@every_mixture
def test_mixtures_keep_size_dtype_and_values(make: type[Mixing]) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        new_image, new_mask = mixture(make).sample(targets((61, 77)), rng, lambda rng=rng: another(rng)).values()
        assert (new_image.shape, new_image.dtype) == ((*SIZE, 3), np.uint8)
        assert (new_mask.shape, new_mask.dtype) == (SIZE, np.uint8)
        assert set(np.unique(new_mask)) <= {0, 1, 2, 3, 4, 10, 13, 14, 77}


@every_mixture
def test_mixtures_are_pure_functions_of_the_generator(make: type[Mixing]) -> None:
    def mixed(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        return b"".join(
            array.tobytes() for array in mixture(make).sample(targets((61, 77)), rng, lambda: another(rng)).values()
        )

    assert [mixed(seed) for seed in range(6)] == [mixed(seed) for seed in range(6)]
    assert len({mixed(seed) for seed in range(6)}) == 6


@every_mixture
def test_mixing_never_happens_at_probability_zero(make: type[Mixing]) -> None:
    def forbidden() -> dict[str, np.ndarray]:
        raise AssertionError("a partner was drawn")

    mixture(make, p=0.0).sample(targets((61, 77)), np.random.default_rng(0), forbidden)
    with pytest.raises(ValueError, match=r"augment\.p=2"):
        mixture(make, p=2)


@every_mixture
def test_mixture_yaml_lists_every_argument(make: type[Mixing]) -> None:
    config = OmegaConf.load(file_of(make))
    assert config["defaults"] == [{"/augment@recipe": "default"}, "_self_"]
    assert set(config) - {"_target_", "defaults"} == set(inspect.signature(make).parameters) - {"recipe"}
