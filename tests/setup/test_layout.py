from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.setup.layout import find_layout

LAYOUTS = {
    "two folders": ("images/{i}.jpg", "masks/{i}.png", "0"),
    "an ending": ("{i}.png", "{i}_mask.png", "0"),
    "a beginning": ("x/image_{i}.jpg", "x/mask_{i}.png", "0"),
    "splits within": ("images/{s}/{i}.jpg", "masks/{s}/{i}.png", "train/0"),
    "splits outside": ("{s}/images/{i}.jpg", "{s}/masks/{i}_mask.png", "train/0"),
    "splits in names": ("{s}_images/{i}.jpg", "{s}_masks/{i}.png", "train/0"),
    "patients": ("images/p{i}/s1.jpg", "masks/p{i}/s1.png", "p0/s1"),
    "CamVid": ("701_StillsRaw_full/f{i}.png", "LabeledApproved_full/f{i}_L.png", "f0"),
    "Cityscapes": ("leftImg8bit/{s}/a/a_{i}_leftImg8bit.png", "gtFine/{s}/a/a_{i}_gtFine_labelIds.png", "train/a/a_0"),
    "masks below": ("{i}.jpg", "masks/{i}.png", "0"),
    "names that say nothing": ("a/x{i}.png", "b/x{i}.png", "x0"),
    "spaces": ("my images/x {i}.png", "my masks/x {i} mask.png", "x 0"),
}


def make(root: Path, image: str, mask: str, count: int = 4) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 24), np.uint8)
    labels[5:12, 5:15] = 1
    for split in ("train", "val"):
        for number in range(count):
            for name, pixels in ((image, rng.integers(0, 255, (20, 24, 3), np.uint8)), (mask, labels)):
                path = root / name.format(s=split, i=number)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_folders_as_people_have_them(name: str, tmp_path: Path) -> None:
    image, mask, key = LAYOUTS[name]
    make(tmp_path, image, mask)
    found = find_layout(tmp_path)
    splits = "{s}" in image
    assert key in found.pairs
    assert len(found.pairs) == (8 if splits else 4)
    assert all(Path(image).parts[0].split("{")[0] in str(pair.image) for pair in found.pairs.values())
    assert set(found.splits) == ({"train", "val"} if splits else set())
    Folder(
        str(tmp_path),
        ["ground", "thing"],
        images=found.images,
        masks=found.masks,
        image_key=found.image_key,
        mask_key=found.mask_key,
        split="folders" if splits else "fractions",
        fractions=(0.5, 0.25, 0.25),
        ignore_index=None,
    ).split("val").verify()


def test_shapes_lie_beside_their_images(tmp_path: Path) -> None:
    make(tmp_path, "{i}.jpg", "drop/{i}.png")
    for path in (tmp_path / "drop").glob("*"):
        path.unlink()
    for number in range(4):
        content = {"imageHeight": 20, "imageWidth": 24, "shapes": []}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    found = find_layout(tmp_path)
    assert (found.encoding, len(found.pairs)) == ("labelme", 4)


def test_one_json_for_all(tmp_path: Path) -> None:
    make(tmp_path, "photos/{i}.jpg", "drop/{i}.jpg")
    images = [{"id": n, "file_name": f"photos/{n}.jpg", "height": 20, "width": 24} for n in range(4)]
    drawn = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 4, 4]}]
    content = {"images": images, "annotations": drawn, "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    found = find_layout(tmp_path)
    assert (found.encoding, found.images, sorted(found.pairs)) == ("coco", "photos", ["0", "1", "2", "3"])


def test_what_a_folder_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder"):
        find_layout(tmp_path / "nothing")
    with pytest.raises(ValueError, match="it is empty"):
        find_layout(tmp_path)
    (tmp_path / "scan.dcm").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"\.dcm files are not: convert them"):
        find_layout(tmp_path)
    make(tmp_path / "alone", "images/{i}.jpg", "images/{i}.jpg")
    with pytest.raises(ValueError, match="no labels that meet them by name"):
        find_layout(tmp_path / "alone")


def test_labels_as_jpeg_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "images/{i}.png", "masks/{i}.jpg")
    with pytest.raises(ValueError, match="a JPEG, which blurs labels"):
        find_layout(tmp_path)


def test_an_image_without_mask_is_named(tmp_path: Path) -> None:
    make(tmp_path, "images/{i}.png", "masks/{i}.png")
    Image.new("RGB", (24, 20)).save(tmp_path / "images" / "lonely.png")
    with pytest.raises(ValueError, match="1 of 5 images have no mask, first: 'lonely'"):
        find_layout(tmp_path)
