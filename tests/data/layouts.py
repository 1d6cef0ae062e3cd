"""Miniature copies of published data sets, in exactly their layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (20, 26)
rng = np.random.default_rng(0)


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), np.uint8)).save(path)


def label_map(path: Path, values: list[int], palette: bool = False) -> None:
    """A mask whose rows repeat ``values``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.resize(np.array(values, np.uint8), SHAPE))
    if palette:
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([channel for index in range(256) for channel in (index, 255 - index, 7)])
    image.save(path)


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def voc(root: Path) -> Path:
    base = root / "VOCdevkit" / "VOC2012"
    for stem in ("2007_000032", "2007_000039", "2007_000063", "2008_000008"):
        photo(base / "JPEGImages" / f"{stem}.jpg")
        label_map(base / "SegmentationClassAug" / f"{stem}.png", [0, 5, 20, 255])
    for stem in ("2007_000032", "2007_000039", "2007_000063"):
        label_map(base / "SegmentationClass" / f"{stem}.png", [0, 1, 20, 255], palette=True)
    lists = base / "ImageSets" / "Segmentation"
    write_lines(lists / "train.txt", ["2007_000032", "2007_000039"])
    write_lines(lists / "val.txt", ["2007_000063"])
    augmented = [f"/JPEGImages/{stem}.jpg /SegmentationClassAug/{stem}.png" for stem in ("2007_000032", "2008_000008")]
    write_lines(lists / "trainaug.txt", augmented)
    return root


def cityscapes(root: Path) -> Path:
    frames = {"train": ["aachen", "bochum"], "val": ["frankfurt"], "train_extra": ["augsburg"]}
    for part, cities in frames.items():
        for city in cities:
            stem = f"{city}_000000_000019"
            photo(root / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png")
            for kind in ("gtFine", "gtCoarse"):
                if part != "train_extra" or kind == "gtCoarse":
                    ids = list(range(34)) if kind == "gtFine" else [0, 7, 33]
                    label_map(root / kind / part / city / f"{stem}_{kind}_labelIds.png", ids)
    photo(root / "leftImg8bit" / "train" / "aachen" / "aachen_000001_000019_leftImg8bit.png")
    train_ids = root / "gtFine" / "train" / "aachen" / "aachen_000001_000019_gtFine_labelTrainIds.png"
    label_map(train_ids, [0, 18, 255])
    label_map(root / "gtCoarse" / "train" / "aachen" / "aachen_000001_000019_gtCoarse_labelIds.png", [7])
    return root


def ade20k(root: Path) -> Path:
    base = root / "ADEChallengeData2016"
    for part, short in (("training", "train"), ("validation", "val")):
        for number in (1, 2):
            stem = f"ADE_{short}_{number:08d}"
            photo(base / "images" / part / f"{stem}.jpg")
            label_map(base / "annotations" / part / f"{stem}.png", [0, 1, 150])
    return root


def coco_stuff_164k(root: Path) -> Path:
    for part, number in (("train2017", 9), ("train2017", 25), ("val2017", 139)):
        photo(root / "images" / part / f"{number:012d}.jpg")
        label_map(root / "annotations" / part / f"{number:012d}.png", [0, 12, 181, 255])
    return root


def coco_stuff_10k(root: Path) -> Path:
    from scipy.io import savemat

    for stem in ("COCO_train2014_000000000077", "COCO_train2014_000000000109"):
        photo(root / "images" / f"{stem}.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        savemat(root / "annotations" / f"{stem}.mat", {"S": np.resize(np.array([0, 1, 13, 182], np.uint8), SHAPE)})
    write_lines(root / "imageLists" / "train.txt", ["COCO_train2014_000000000077"])
    write_lines(root / "imageLists" / "test.txt", ["COCO_train2014_000000000109"])
    return root
