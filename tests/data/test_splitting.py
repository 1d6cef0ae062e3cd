from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perpixel.data import Folder
from perpixel.data.folder.properties import property_of
from perpixel.data.folder.split_record import write_splits
from perpixel.data.folder.splitting import choose_fold, cut_folds, divide

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
    cut = cut_folds(KEYS, 0.2, 4, seed=0)
    parts = [choose_fold(cut, number) for number in range(4)]
    assert sorted(chain(*(part["val"] for part in parts))) == sorted(set(KEYS) - set(parts[0]["test"]))
    assert len({tuple(part["test"]) for part in parts}) == 1
    assert all(not set(part["train"]) & set(part["val"]) for part in parts)
    with pytest.raises(ValueError, match=r"data\.source\.fold=4 of data\.source\.folds=4"):
        choose_fold(cut, 4)
    with pytest.raises(ValueError, match=r"data\.source\.folds=1: use at least 2"):
        cut_folds(KEYS, 0.2, 1, seed=0)


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


def kept(root: Path, **arguments: Any) -> Folder:
    return Folder(str(root), ["a", "b", "c"], split_file="splits/one.json", **arguments)


def test_a_split_file_keeps_the_draw(cameras: Path) -> None:
    first = members(kept(cameras))
    saved = json.loads((cameras / "splits" / "one.json").read_text())
    rule = {"fractions": [0.7, 0.15, 0.15], "split_seed": 0, "stratify": False, "group_by": None, "folds": None}
    assert saved == {"rule": rule, **first}
    assert members(kept(cameras)) == first
    assert [path.name for path in (cameras / "splits").iterdir()] == ["one.json"]
    (cameras / "images" / "cam0_0.png").unlink()
    with pytest.raises(ValueError, match=r"names 1 samples that are not there, first: 'cam0_0'"):
        kept(cameras)


def test_a_split_file_keeps_all_folds(cameras: Path) -> None:
    folds = [members(kept(cameras, folds=3, fold=number, group_by=r"(cam\d)_")) for number in range(3)]
    assert len({tuple(part["val"]) for part in folds}) == 3
    assert len({tuple(part["test"]) for part in folds}) == 1
    unsaved = [
        members(Folder(str(cameras), ["a", "b", "c"], folds=3, fold=number, group_by=r"(cam\d)_"))
        for number in range(3)
    ]
    assert folds == unsaved


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"split_seed": 9}, r"was drawn with data\.source\.split_seed=0, not 9"),
        ({"folds": 3}, r"data\.source\.folds=null, not 3"),
        ({"fractions": [0.5, 0.25, 0.25]}, r"fractions=\[0\.7, 0\.15, 0\.15\]"),
        ({"group_by": r"(cam\d)_"}, r"data\.source\.group_by=null"),
        ({"stratify": True}, r"data\.source\.stratify=false, not true.*or name another data\.source\.split_file"),
    ],
)
def test_a_split_file_of_another_rule_is_refused(cameras: Path, other: dict[str, Any], told: str) -> None:
    kept(cameras)
    with pytest.raises(ValueError, match=told):
        kept(cameras, **other)


def test_samples_that_joined_since_the_draw_are_told(cameras: Path) -> None:
    kept(cameras)
    for folder in ("images", "masks"):
        shutil.copy(cameras / folder / "cam0_0.png", cameras / folder / "new.png")
    with pytest.raises(ValueError, match=r"1 samples have joined the data since.*first: 'new'"):
        kept(cameras)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"train": ["cam0_0", "cam0_0"], "val": ["cam1_0"]}', "names 'cam0_0' twice"),
        ('{"train": ["cam0_0"], "val": ["cam0_1"]}', "the group 'cam0'.* stands in train and in val"),
        ('{"train": ["cam0_0"], "fold1": ["cam1_1"]}', "holds a part 'fold1'"),
        ('{"train": 5}', "must hold lists of keys"),
        ("[1]", "is no JSON of lists of keys"),
        ('{"train": [', "is no JSON of lists of keys"),
        ("[" * 200_000, "is no JSON of lists of keys"),
    ],
    ids=range(7),
)
def test_a_split_file_by_hand_is_checked(cameras: Path, text: str, told: str) -> None:
    (cameras / "splits").mkdir()
    (cameras / "splits" / "one.json").write_text(text)
    with pytest.raises(ValueError, match=told):
        kept(cameras, group_by=r"(cam\d)_")


def test_a_split_file_by_hand_may_leave_samples_out(cameras: Path) -> None:
    (cameras / "splits").mkdir()
    (cameras / "splits" / "one.json").write_text('{"train": ["cam0_0"], "val": ["cam1_1"]}')
    assert members(kept(cameras)) == {"train": ["cam0_0"], "val": ["cam1_1"]}


@pytest.mark.parametrize("how", [{"stratify": True}, {"tile": [6, 7]}, {"stratify": True, "tile": [6, 7]}], ids=str)
def test_files_to_be_skipped_do_not_stop_the_division(cameras: Path, how: dict[str, Any]) -> None:
    (cameras / "masks" / "cam0_0.png").write_bytes(b"no picture")
    (cameras / "images" / "cam1_0.png").write_bytes(b"no picture either")
    source = Folder(str(cameras), ["a", "b", "c"], on_bad_file="skip", max_bad=0.9, **how)
    assert any("cam0_0" in reason for reason in source.quarantined)
    assert any("cam1_0" in reason for reason in source.quarantined)
    left = {name for names in members(source).values() for name in names}
    assert not any(name.startswith(("cam0_0", "cam1_0")) for name in left)
    refusing = Folder(str(cameras), ["a", "b", "c"], **how)
    told = {fault for name in refusing.splits for fault in refusing.split(name).inspect().faults.values()}
    assert any("cam0_0" in fault for fault in told)


def test_tables_as_spreadsheets_write_them(cameras: Path) -> None:
    """With a byte order mark; and keys may hold dots, with or without a file's suffix behind."""
    keys = ["scan.01", "scan.02", "scan.03.png", "plain"]
    (cameras / "t.csv").write_bytes(
        "\ufeffkey,site\n".encode() + "".join(f"{key},s{i}\n" for i, key in enumerate(keys)).encode()
    )
    found = property_of(["scan.01", "scan.02", "scan.03", "plain"], cameras, "t.csv", "site", "here")
    assert found == {"scan.01": "s0", "scan.02": "s1", "scan.03": "s2", "plain": "s3"}


@pytest.mark.parametrize("rule", ["T.CSV", "T.CSV:site"])
def test_tables_as_people_write_them(cameras: Path, rule: str) -> None:
    (cameras / "T.CSV").write_text('key, site , note\n a , s0, "x, y"\nb, s1\n\n')
    assert property_of(["a", "b"], cameras, rule, "site", "here") == {"a": "s0", "b": "s1"}


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("g.txt", "a g0\n", r"here='g\.txt' names the file '.*g\.txt', but tables end in \.csv: save it as one"),
        ("t.csv", f'key,site\na,0\nb,"{"x" * 140_000}\n', r"t\.csv' cannot be read from line 3 on .*close each quote"),
    ],
    ids=["other ending", "long field"],
)
def test_files_that_are_no_table_are_refused(cameras: Path, file: str, text: str, told: str) -> None:
    (cameras / file).write_text(text)
    with pytest.raises(ValueError, match=told):
        property_of(["a", "b"], cameras, file, "site", "here")


def test_a_pattern_may_be_longer_than_a_files_name(cameras: Path) -> None:
    assert property_of(["a"], cameras, f"(a).?{'|x' * 200}", "site", "here") == {"a": "a"}


@pytest.mark.parametrize("rows", ["a,1\na,1\n", "a.png,1\na.jpg,2\n"], ids=["twice", "two suffixes"])
def test_tables_with_a_key_twice_are_refused(cameras: Path, rows: str) -> None:
    (cameras / "t.csv").write_text("key,site\n" + rows)
    with pytest.raises(ValueError, match=r"the key 'a'.*one row"):
        property_of(["a"], cameras, "t.csv", "site", "here")


@pytest.mark.parametrize("how", [{}, {"folds": 3, "fold": 1}, {"tile": [6, 7]}], ids=str)
def test_a_run_keeps_its_draw_for_another(cameras: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    first = Folder(str(cameras), ["a", "b", "c"], split_seed=5, **how)
    write_splits(first, tmp_path / "run" / "splits.json")
    tile = {name: value for name, value in how.items() if name == "tile"}
    again = Folder(str(cameras), ["a", "b", "c"], split_file=str(tmp_path / "run" / "splits.json"), **tile)
    assert members(again) == members(first)
    assert json.loads((tmp_path / "run" / "splits.json").read_text()).keys() == set(members(first))


def test_given_splits_are_not_kept_twice(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(["train/a", "val/b"])
    write_splits(Folder(str(root), ["a", "b", "c"], split="folders"), tmp_path / "splits.json")
    assert not (tmp_path / "splits.json").exists()


@pytest.mark.parametrize("split", ["lists", "folders"])
def test_no_group_stands_on_both_sides_of_a_given_split(make_folder: Callable[..., Path], split: str) -> None:
    root = make_folder(["train/cam1_a", "train/cam2_a", "val/cam3_a", "val/cam1_b", "val/cam2_b"])
    for name in ("train", "val"):
        keys = sorted(path.stem for path in (root / "images" / name).iterdir())
        (root / f"{name}.txt").write_text("\n".join(f"{name}/{key}" for key in keys))
    given: dict[str, Any] = {"split": split, "lists": {"train": "train.txt", "val": "val.txt"}}
    told = "2 groups of .* first 'cam1': 'train__cam1_a' in train and 'val__cam1_b' in val. Move all samples of a group"
    with pytest.raises(ValueError, match=told):
        Folder(str(root), ["a", "b", "c"], group_by=r"(cam\d)_", **given)
    apart = Folder(str(root), ["a", "b", "c"], group_by=r"(cam\d_\w)", **given)
    assert apart.split("train").pairs[0].group == "cam1_a"
    for idle in ({"stratify": True}, {"folds": 3}, {"split_file": "kept.json"}):
        [(key, value)] = idle.items()
        with pytest.raises(ValueError, match=rf"data\.source\.{key}={value} would do nothing with .*split={split}"):
            Folder(str(root), ["a", "b", "c"], **idle, **given)
