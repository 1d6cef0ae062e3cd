"""Only what is cut out is decoded, and the samples stay the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from perpixel.augment import CutMix, Default, Mosaic, Plain, Recipe, Strong
from perpixel.data import Folder
from perpixel.data.base import Split
from perpixel.data.loading.batches import TrainSamples
from perpixel.data.loading.samplers import Key
from perpixel.data.loading.subset import Subset
from perpixel.windows import Windowed

CLASSES = ["a", "b", "c"]
RECIPES: dict[str, Recipe] = {
    "crop": Plain(size=(5, 6)),
    "pad": Plain(size=(20, 30)),
    "scale": Default(size=(6, 5)),
    "focus": Default(size=(6, 5), focus=1.0),
    "strong": Strong(size=(8, 8)),
    "cutmix": CutMix(Default(size=(6, 6)), p=1.0),
    "mosaic": Mosaic(Default(size=(6, 6)), p=1.0),
}


class Eager(Split):
    """The same samples, decoded whole."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.read = split.read  # type: ignore[method-assign]
        self.fingerprint = split.fingerprint  # type: ignore[method-assign]

    def __len__(self) -> int:
        return len(self.split)

    def read(self, index, rng):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def fingerprint(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("tile", [None, [7, 9]])
def test_samples_are_those_of_whole_images(
    recipe: Recipe, tile: list[int] | None, make_folder: Callable[..., Path]
) -> None:
    split = Folder(str(make_folder([f"{i}" for i in range(9)])), CLASSES, tile=tile).split("train")
    lazy, eager = (TrainSamples(part, recipe, seed=3) for part in (split, Eager(split)))
    for position in range(12):
        key = Key(1, position, position % len(split))
        first, second = lazy[key], eager[key]
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)


def test_only_the_crop_is_read() -> None:
    asked = []

    def read(part: tuple[int, int, int, int]) -> np.ndarray:
        asked.append(part)
        return np.zeros((part[2], part[3], 3), np.uint8)

    image = Windowed((1024, 2048), read)
    Plain(size=(16, 32)).apply({"image": image}, np.random.default_rng(0))  # type: ignore[dict-item]
    assert [part[2:] for part in asked] == [(16, 32)]
    assert np.asarray(image).shape == (1024, 2048, 3)
    assert image[10:20, 30:40].shape == (10, 10, 3)
    assert len(asked) == 2, "what was read whole is kept"


def test_a_part_of_a_split_is_windowed_too(make_folder: Callable[..., Path]) -> None:
    split = Folder(str(make_folder([f"{i}" for i in range(9)])), CLASSES).split("train")
    sample = Subset(split, [2]).open(0, np.random.default_rng(0))
    assert isinstance(sample.image, Windowed)
    assert sample.name == split.pairs[2].name


def test_image_and_mask_of_different_sizes_are_refused(make_folder: Callable[..., Path]) -> None:
    from PIL import Image

    split = Folder(str(make_folder([f"{i}" for i in range(9)])), CLASSES).split("train")
    Image.new("L", (3, 3)).save(split.pairs[0].mask)
    with pytest.raises(ValueError, match="the same picture at the same size"):
        split.open(0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="the same picture at the same size"):
        Plain(size=(4, 4))(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8), np.uint8), np.random.default_rng(0))


CROPS = """
import resource, sys
import numpy as np
from perpixel.augment import Default
from perpixel.data import Folder
from perpixel.data.loading.batches import TrainSamples
from perpixel.data.loading.samplers import Key

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

source = Folder(sys.argv[1], ["a", "b"], split="folders", channels=4, mean=[0] * 4, std=[1] * 4)
samples = TrainSamples(source.split("train"), Default(size=(512, 512), jitter=0), seed=0)
start = peak()
for position in range(20):
    assert samples[Key(0, position, 0)].image.shape == (512, 512, 4)
print(round(peak() - start))
"""


@pytest.mark.slow
def test_an_image_larger_than_the_bound_is_never_in_memory(tmp_path: Path) -> None:
    """Crops of 16384×16384 pixels of four 16-bit bands (2 GiB): the process grows by less than 300 MiB."""
    side = 16384
    for kind, shape, dtype in (("images", (side, side, 4), "u2"), ("masks", (side, side), "u1")):
        path = tmp_path / kind / "train" / "a.tif"
        path.parent.mkdir(parents=True)
        tile = np.zeros((1024, 1024, *shape[2:]), dtype)
        layout = {"tile": (1024, 1024), "compression": "zlib", "compressionargs": {"level": 1}}
        tiles = (tile for _ in range((side // 1024) ** 2))
        tifffile.imwrite(
            path, tiles, shape=shape, dtype=dtype, photometric="minisblack", planarconfig="contig", **layout
        )
        (tmp_path / kind / "val").mkdir()
        os.link(path, tmp_path / kind / "val" / "b.tif")
    done = subprocess.run(
        [sys.executable, "-c", CROPS, tmp_path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300
