from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from perpixel.data import Folder
from perpixel.data.splitting import divide, fold

KEYS = [f"k{i}" for i in range(100)]
SHARES = [0.6, 0.2, 0.2]
MakeFolder = Callable[..., Path]


def test_shares_and_determinism() -> None:
    first = divide(KEYS, SHARES, seed=0)
    assert {name: len(keys) for name, keys in first.items()} == {"train": 60, "val": 20, "test": 20}
    assert sorted(chain(*first.values())) == sorted(KEYS)
    assert first == divide(KEYS, SHARES, seed=0) != divide(KEYS, SHARES, seed=1)


def test_a_sample_keeps_its_place_when_others_come() -> None:
    before, after = divide(KEYS, SHARES, 0), divide([*KEYS, "new1", "new2", "new3"], SHARES, 0)
    moved = sum(len(set(before[name]) - set(after[name])) for name in before)
    assert moved <= 4


def test_no_group_stands_on_both_sides() -> None:
    groups = [f"g{i // 7}" for i in range(100)]
    parts = divide(KEYS, SHARES, 0, groups=groups)
    held = [{groups[KEYS.index(key)] for key in keys} for keys in parts.values()]
    assert not any(a & b for i, a in enumerate(held) for b in held[i + 1 :])
    assert all(abs(len(keys) - 100 * share) <= 7 for keys, share in zip(parts.values(), SHARES, strict=True))


def test_too_few_groups() -> None:
    with pytest.raises(ValueError, match=r"2 groups cannot be divided into 3 splits.*group_by"):
        divide(KEYS, SHARES, 0, groups=[f"g{i % 2}" for i in range(100)])


def rare_contents() -> np.ndarray:
    """Four classes; the last in 5 samples of 100."""
    rng = np.random.default_rng(0)
    contents = rng.integers(0, 1000, (100, 4)) * (rng.random((100, 4)) < 0.5)
    contents[:, 0] = 5000
    contents[:, 3] = 0
    contents[:5, 3] = 80
    return contents


def test_stratified_splits_hold_like_parts_of_each_class() -> None:
    contents = rare_contents()
    parts = divide(KEYS, SHARES, 0, contents=contents)
    rows = {name: [KEYS.index(key) for key in keys] for name, keys in parts.items()}
    shares = np.stack([contents[rows[name]].sum(axis=0) / contents.sum(axis=0) for name in ("train", "val", "test")])
    np.testing.assert_allclose(shares[:, :3], np.repeat(np.array(SHARES)[:, None], 3, 1), atol=0.08)
    assert [np.count_nonzero(contents[rows[name], 3]) for name in ("train", "val", "test")] == [3, 1, 1]
    drawn = [
        np.count_nonzero(contents[[KEYS.index(k) for k in divide(KEYS, SHARES, seed)["test"]], 3]) for seed in range(20)
    ]
    assert 0 in drawn  # what chance does to a rare class


def test_stratified_groups_stay_whole() -> None:
    groups = [f"g{i // 5}" for i in range(100)]
    parts = divide(KEYS, SHARES, 0, groups, rare_contents())
    held = [{groups[KEYS.index(key)] for key in keys} for keys in parts.values()]
    assert not held[0] & held[1]
    assert not held[0] & held[2]


def test_folds_validate_every_sample_once() -> None:
    parts = [fold(KEYS, 0.2, 4, number, seed=0) for number in range(4)]
    assert sorted(chain(*(part["val"] for part in parts))) == sorted(set(KEYS) - set(parts[0]["test"]))
    assert len({tuple(part["test"]) for part in parts}) == 1
    assert all(not set(part["train"]) & set(part["val"]) for part in parts)
    with pytest.raises(ValueError, match=r"data\.source\.fold=4 of data\.source\.folds=4"):
        fold(KEYS, 0.2, 4, 4, seed=0)


def members(source: Folder) -> dict[str, list[str]]:
    return {name: [pair.name for pair in source.split(name).pairs] for name in source.splits}


@pytest.fixture
def cameras(make_folder: MakeFolder) -> Path:
    return make_folder([f"cam{camera}_{shot}" for camera in range(6) for shot in range(4)])


def test_folder_grouped_by_a_pattern(cameras: Path) -> None:
    source = Folder(str(cameras), ["a", "b", "c"], group_by=r"(cam\d)_", fractions=SHARES)
    held = [{pair.group for pair in source.split(name).pairs} for name in source.splits]
    assert set.union(*held) == {f"cam{i}" for i in range(6)}
    assert not held[0] & held[1]
    with pytest.raises(ValueError, match=r"24 samples have no group by data\.source\.group_by='site'"):
        Folder(str(cameras), ["a", "b", "c"], group_by="site")


def test_folder_grouped_by_a_table(cameras: Path) -> None:
    rows = [f"cam{camera}_{shot}.png,site{camera // 2}" for camera in range(6) for shot in range(4)]
    (cameras / "sites.csv").write_text("\n".join(["key,group", *rows]))
    source = Folder(str(cameras), ["a", "b", "c"], group_by="sites.csv", fractions=SHARES)
    assert [len({pair.group for pair in source.split(name).pairs}) for name in source.splits] == [1, 1, 1]
    (cameras / "sites.csv").write_text("file,site\n")
    with pytest.raises(ValueError, match="needs the columns key and group, but has file, site"):
        Folder(str(cameras), ["a", "b", "c"], group_by="sites.csv")


def test_folder_grouped_by_a_column(cameras: Path) -> None:
    source = Folder(str(cameras), ["a", "b", "c"])
    keys = [pair.name for name in source.splits for pair in source.split(name).pairs]
    rows = [f"{key.replace('__', '/')}.png,{index % 6}" for index, key in enumerate(keys)]
    (cameras / "meta.csv").write_text("key,patient\n" + "\n".join(rows))
    grouped = Folder(str(cameras), ["a", "b", "c"], group_by="meta.csv:patient", fractions=[0.5, 0.3, 0.2])
    groups = [{pair.group for pair in grouped.split(name).pairs} for name in grouped.splits]
    assert set.union(*groups) == set("012345")
    assert sum(map(len, groups)) == 6
    with pytest.raises(ValueError, match=r"needs the columns key and doctor, but has key, patient"):
        Folder(str(cameras), ["a", "b", "c"], group_by="meta.csv:doctor")


def test_folder_stratified_and_in_folds(cameras: Path) -> None:
    source = Folder(str(cameras), ["a", "b", "c"], stratify=True)
    assert {name: len(part) for name, part in members(source).items()}.keys() == {"train", "val", "test"}
    folds = [members(Folder(str(cameras), ["a", "b", "c"], folds=3, fold=i, fractions=[1, 0, 0])) for i in range(3)]
    assert sorted(chain(*(part["val"] for part in folds))) == sorted(chain(*members(source).values()))


def test_a_split_file_keeps_the_draw(cameras: Path) -> None:
    first = members(Folder(str(cameras), ["a", "b", "c"], split_file="splits/one.json"))
    saved = json.loads((cameras / "splits" / "one.json").read_text())
    assert saved == first
    assert members(Folder(str(cameras), ["a", "b", "c"], split_file="splits/one.json", split_seed=9)) == first
    (cameras / "images" / "cam0_0.png").unlink()
    with pytest.raises(ValueError, match="names 1 samples that are not there, first: 'cam0_0'"):
        Folder(str(cameras), ["a", "b", "c"], split_file="splits/one.json")
