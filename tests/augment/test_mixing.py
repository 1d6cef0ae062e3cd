from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.conftest import ArraySource

import perpixel
from perpixel.augment import CopyPaste, CutMix, Mixing, Mosaic, Plain
from perpixel.augment.copy_paste import blend
from perpixel.data import DataModule

SIZE = (40, 60)
rng = np.random.default_rng


def plain(value: int, label: int) -> dict[str, np.ndarray]:
    return {"image": np.full((*SIZE, 3), value, np.uint8), "mask": np.full(SIZE, label, np.uint8)}


def mixed(recipe: Mixing, seed: int, targets: dict[str, np.ndarray], partner: Callable) -> tuple[np.ndarray, ...]:
    return tuple(recipe.sample(targets, rng(seed), partner).values())


def test_cutmix_pastes_one_rectangle_alike_in_image_and_mask() -> None:
    shares = []
    for seed in range(200):
        image, mask = mixed(CutMix(Plain(SIZE), p=1.0), seed, plain(10, 0), lambda: plain(200, 3))
        pasted = mask == 3
        np.testing.assert_array_equal(image[..., 0] == 200, pasted)
        rows, columns = np.flatnonzero(pasted.any(axis=1)), np.flatnonzero(pasted.any(axis=0))
        assert pasted.sum() == len(rows) * len(columns)
        shares.append(pasted.mean())
    assert abs(np.mean(shares) - 0.5) < 0.06  # Beta(1, 1)


def test_mosaic_takes_four_quarters() -> None:
    labels = iter((1, 2, 3))
    image, mask = mixed(Mosaic(Plain(SIZE), p=1.0), 0, plain(0, 0), lambda: plain(50, next(labels)))
    assert [mask[0, 0], mask[0, -1], mask[-1, 0], mask[-1, -1]] == [0, 1, 2, 3]
    assert np.bincount(mask.ravel()).min() >= 10 * 15 - 60
    np.testing.assert_array_equal(image[..., 0] == 50, mask > 0)


def with_objects() -> dict[str, np.ndarray]:
    """A partner with two objects of class 2, one of class 5 and a speck."""
    targets = plain(240, 1)
    mask = targets["mask"]
    mask[5:15, 5:15], mask[25:35, 40:52], mask[5:15, 40:50], mask[38, 2] = 2, 2, 5, 2
    return targets


def test_copy_paste_takes_components_of_the_classes_only() -> None:
    recipe = CopyPaste(Plain(SIZE), classes=[2], p=1.0, objects=1, feather=1.0)
    counts = set()
    for seed in range(20):
        image, mask = mixed(recipe, seed, plain(0, 0), with_objects)
        assert set(np.unique(mask)) == {0, 2}
        counts.add(int((mask == 2).sum()))
        inside, outside = image[mask == 2][..., 0], image[mask == 0][..., 0]
        assert inside.max() == 240
        assert (outside > 0).any()  # the feathered edge
        assert (outside > 0).mean() < 0.1
    assert counts == {100, 120}  # one component or the other, never the speck


def test_copy_paste_looks_for_classes_that_the_data_have() -> None:
    recipe = CopyPaste(Plain(SIZE), classes=["wire", 1])
    recipe.check_classes(["ground", "car", "wire"])
    assert recipe.sought == (2, 1)
    for unknown, shown in ((99, "99"), (-1, "-1"), ("wires", "'wires'")):
        with pytest.raises(ValueError, match=rf"augment\.classes=.*holds {shown}, .*0…2 \(ground, car, wire\)"):
            CopyPaste(Plain(SIZE), classes=[1, unknown]).check_classes(["ground", "car", "wire"])
    with pytest.raises(ValueError, match="holds 3, but the data have the classes 0…2"):
        DataModule(ArraySource(), CopyPaste(Plain(SIZE), classes=[3]), batch_size=1)


def test_copy_paste_searches_and_gives_up() -> None:
    drawn = []
    recipe = CopyPaste(Plain(SIZE), classes=[7], p=1.0, tries=3)
    image, mask = mixed(recipe, 0, plain(0, 0), lambda: drawn.append(1) or with_objects())
    assert len(drawn) == 3
    assert not image.any()
    assert not mask.any()


def test_blend_is_exact_at_both_ends() -> None:
    first, second = plain(3, 0)["image"], plain(250, 0)["image"]
    np.testing.assert_array_equal(blend(first, second, np.ones(SIZE, np.float32)), second)
    np.testing.assert_array_equal(blend(first, second, np.zeros(SIZE, np.float32)), first)


def test_images_of_many_bands_train_with_a_mixture(tiny: list[str], tiny_root: Path, tmp_path: Path) -> None:
    """Over the recipes that turn no hues."""
    shutil.copytree(tiny_root / "masks", tmp_path / "masks")
    (tmp_path / "images").mkdir()
    for path in (tiny_root / "images").iterdir():
        image = np.asarray(Image.open(path))
        np.save(tmp_path / "images" / f"{path.stem}.npy", np.concatenate([image, image[..., :2]], axis=2))
    bands = [*tiny, f"data.source.root={tmp_path}", "data.source.channels=5", "augment=cutmix"]
    with pytest.raises(ValueError, match=r"5 channels: set .*augment@augment\.recipe"):
        perpixel.train(bands)
    assert perpixel.train([*bands, "augment@augment.recipe=satellite"]).scores["val"]["mIoU"] is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CopyPaste(Plain(SIZE), classes=[]), r"augment\.classes is empty"),
        (lambda: CopyPaste(Plain(SIZE), classes=[1], tries=0), r"augment\.tries=0"),
        (lambda: CutMix(Plain(SIZE), alpha=0), r"augment\.alpha=0"),
        (lambda: Mosaic(Plain(SIZE), margin=0.6), r"augment\.margin=0\.6"),
    ],
)
def test_mistakes_are_explained(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
