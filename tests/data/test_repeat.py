from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import CLASSES

from perpixel.augment import Light
from perpixel.data import DataModule, Folder


def module(root: Path, repeat: int) -> DataModule:
    source = Folder(str(root), list(CLASSES))
    return DataModule(source, Light(size=(16, 16)), batch_size=8, repeat=repeat)


def test_an_epoch_shows_each_image_so_often_and_never_the_same_crop(tiny_root: Path) -> None:
    once, often = module(tiny_root, 1), module(tiny_root, 4)
    batches = list(often.train_dataloader())
    assert len(batches) == 4 * 16 // 8
    assert set(Counter(name for batch in batches for name in batch["name"]).values()) == {4}
    crops = {batch["image"][place].numpy().tobytes() for batch in batches for place in range(8)}
    assert len(crops) > 60
    assert once.fingerprints() == often.fingerprints()


def test_a_repeat_of_nothing_is_refused(tiny_root: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.repeat=0"):
        module(tiny_root, 0)
