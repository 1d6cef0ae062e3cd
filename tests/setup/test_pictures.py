from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data.files.pairs import Pair
from perpixel.setup.pictures import Pictures, find_pictures

NAMES = {
    "tiles of one scene": ([f"t_r{r}_c{c}" for r in range(4) for c in range(4)], 4),
    "tiles of many scenes": ([f"scene{s}_r{r}_c0" for s in range(6) for r in range(3)], 6),
    "patients": ([f"p{p}/slice{n}" for p in range(4) for n in range(4)], 4),
    "films": ([f"film{letter}_{n:03}" for letter in "abcdef" for n in range(4)], 6),
    "blocks": ([f"band{b}_06N_0{n}E" for b in range(5) for n in range(4)], 5),
    "photographs": ([f"img_{n:03}" for n in range(16)], 0),
}


def look(root: Path, names: list[str], pixels: np.ndarray | None = None) -> Pictures:
    rng = np.random.default_rng(0)
    pairs = {}
    for name in names:
        path = root / f"{name.replace('/', '_')}.png"
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8) if pixels is None else pixels).save(path)
        pairs[name] = Pair(name.replace("/", "__"), path, path)
    return find_pictures(pairs)


@pytest.mark.parametrize("name", NAMES)
def test_names_tell_what_belongs_together(name: str, tmp_path: Path) -> None:
    names, groups = NAMES[name]
    found = look(tmp_path, names)
    assert (found.groups, found.group_by is not None) == (groups, groups > 0)


def test_grey_that_is_stored_as_colours_has_one_channel(tmp_path: Path) -> None:
    grey = np.repeat(np.random.default_rng(0).integers(0, 255, (30, 40, 1), np.uint8), 3, axis=2)
    assert look(tmp_path, ["a", "b"], grey).channels == 1
    assert look(tmp_path, ["a", "b"]).channels == 3


def test_photographs_are_brighter_above(tmp_path: Path) -> None:
    sky = np.zeros((30, 40, 3), np.uint8)
    sky[:12] = 200
    assert look(tmp_path, [f"i{n}" for n in range(9)], sky).sided
    assert not look(tmp_path, [f"i{n}" for n in range(9)]).sided
