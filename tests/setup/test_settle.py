from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.config import compose
from perpixel.setup import sizes
from perpixel.setup.concerns import concerns
from perpixel.workflows.assembly import build_source, settle


def composed(root: Path, *overrides: str):
    cfg = compose(
        ["data=folder", f"data.source.root={root}", "data.source.classes=[ground,square,disc]", *overrides]
    ).cfg
    cfg.trainer.accelerator = "cpu"
    source = build_source(cfg)
    settle(cfg, source)
    return cfg, source


def test_what_is_left_open_is_settled_from_the_data(tiny_root: Path) -> None:
    cfg, source = composed(tiny_root)
    assert list(cfg.data.size) == [32, 64]
    assert cfg.data.batch_size == 8
    assert cfg.data.source.channels == source.channels == 3
    steps = len(source.split("train")) * cfg.data.repeat // 8
    assert steps >= 20
    assert steps * cfg.trainer.max_epochs >= sizes.USUAL_STEPS


def test_what_the_user_sets_stays(tiny_root: Path) -> None:
    cfg, _ = composed(tiny_root, "data.size=[16,16]", "data.batch_size=3", "trainer.max_epochs=7")
    assert (list(cfg.data.size), cfg.data.batch_size, cfg.trainer.max_epochs, cfg.data.repeat) == ([16, 16], 3, 7, 1)


def test_steps_end_a_training_as_well(tiny_root: Path) -> None:
    cfg, _ = composed(tiny_root, "trainer.max_steps=40")
    assert cfg.trainer.max_epochs == -1


def test_embedded_data_keep_their_epochs() -> None:
    cfg = compose(["data=scenes"]).cfg
    settle(cfg, build_source(cfg))
    assert (cfg.trainer.max_epochs, cfg.data.repeat) == (sizes.USUAL_EPOCHS, 1)


@pytest.mark.parametrize(
    ("shape", "gpu", "objects", "size"),
    [
        ((128, 128), False, 0, (128, 128)),
        ((128, 128), True, 0, (128, 128)),
        ((1000, 700), False, 0, (192, 192)),
        ((1000, 700), True, 0, (512, 512)),
        ((1000, 700), False, 20, (96, 96)),
        ((1000, 700), False, 50, (160, 160)),
        ((20, 100), False, 0, (32, 96)),
    ],
)
def test_crops_follow_images_objects_and_device(
    shape: tuple[int, int], gpu: bool, objects: float, size: tuple[int, int]
) -> None:
    assert sizes.crop_size({shape: 9}, gpu, objects)[0] == size
    assert sizes.LEAST_BATCH <= sizes.batch_size(size, gpu) <= sizes.MOST_BATCH_GPU


def told(root: Path, *overrides: str) -> str:
    cfg, source = composed(root, *overrides)
    return "\n".join(concerns(source, cfg, len(source.split("train"))))


def test_sound_data_are_no_concern(tiny_root: Path) -> None:
    assert told(tiny_root) == ""


def test_few_steps_padding_and_dropped_images_are_counted(tiny_root: Path) -> None:
    found = told(tiny_root, "trainer.max_epochs=2", "data.batch_size=9", "data.size=[128,128]")
    assert "this training has 2 steps (of 9 images)" in found
    assert "7 of 16 images are left out of each epoch" in found
    assert "16 of 16 training images are smaller than data.size=[128,128], and 91%" in found


def test_masks_and_classes_that_teach_nothing_are_counted(tiny_root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for path in (tiny_root / part).glob("*.png"):
            (tmp_path / part / path.name).write_bytes(path.read_bytes())
    for number, value in ((50, 0), (51, 0), (52, 0), (53, 0), (54, 0), (55, 0), (56, 255)):
        Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(np.full((32, 48), value, np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    found = told(tmp_path, "data.source.fractions=[0.8,0.2,0.0]", "data.source.classes=[ground,square,disc,kite]")
    assert "class 'kite' does not occur in train and val, so it cannot be learned" in found
    assert "are 'ground' from edge to edge" in found
    assert "have no label, as '56'" in found


def test_near_duplicates_over_splits_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        for split in ("train", "val"):
            (tmp_path / part / split).mkdir(parents=True)
    for number in range(3):
        picture = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        mask = np.kron(rng.integers(0, 3, (8, 8)), np.ones((8, 8))).astype(np.uint8)
        for split in ("train", "val"):
            noisy = (picture + rng.integers(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "images" / split / f"{number}.png")
            Image.fromarray(mask).save(tmp_path / "masks" / split / f"{number}.png")
    assert "3 images look like one of another split" in told(tmp_path, "data.source.split=folders")
