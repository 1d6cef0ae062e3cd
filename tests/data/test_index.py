"""Pairs are found once, and found again as soon as anything that decides them changes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.files.file_cache import cache_folder
from perpixel.data.files.pairs import Pair
from perpixel.data.files.table import PairTable
from perpixel.data.folder import index, matching
from perpixel.windows import Window

from .conftest import save

CLASSES = ["a", "b", "c"]
KEYS = [f"{i}" for i in range(12)]
PAIRS = [
    Pair("a", Path("/x/a.png"), Path("/y/a.png")),
    Pair("ä", Path("/x/ä.png"), Path(os.fsdecode(b"/y/\xff.png")), "köln"),
    Pair("c", Path("c.tif"), Path("c.png"), "", Window(1, 2, 3, 4), (Path("d"), Path("e")), (("light", "day"),)),
]


def names(source: Folder) -> dict[str, list[str]]:
    return {name: [pair.name for pair in source.split(name).pairs] for name in source.splits}


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    """A data set that nobody has changed for a minute."""
    root = make_folder(KEYS)
    settle(root)
    return root


def settle(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        status = Path(folder).stat()
        os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns - 60 * 10**9))


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each time that files are looked for."""
    done: list[Any] = []
    listed = matching._listed

    def counted(*arguments: Any) -> Any:
        done.append(arguments)
        return listed(*arguments)

    monkeypatch.setattr(matching, "_listed", counted)
    return done


def test_a_table_gives_the_pairs_back(tmp_path: Path) -> None:
    table = PairTable.of(PAIRS)
    assert list(table) == PAIRS
    assert table[1:] == PAIRS[1:]
    assert table[-1] == PAIRS[-1]
    assert table.files() == [os.fsencode(path) for pair in PAIRS for path in pair.files]
    assert PairTable.of([]).files() == list(PairTable.of([])) == []
    with pytest.raises(IndexError):
        table[3]
    table.save(tmp_path / "t")
    mapped = PairTable.mapped(tmp_path / "t")
    assert list(mapped) == PAIRS
    assert mapped.key == table.key != PairTable.of(PAIRS[:2]).key


def test_a_mapped_table_travels_as_its_path(tmp_path: Path) -> None:
    table = PairTable.of(PAIRS * 1000)
    table.save(tmp_path / "t")
    mapped = PairTable.mapped(tmp_path / "t")
    assert len(pickle.dumps(mapped)) < 500 < len(pickle.dumps(table))
    assert list(pickle.loads(pickle.dumps(mapped))) == list(pickle.loads(pickle.dumps(table))) == PAIRS * 1000


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    table = PairTable.of(PAIRS)
    table.save(tmp_path / "t")
    whole = (tmp_path / "t").read_bytes()
    for damaged in (whole[:20], whole[:-1], b"x" + whole[1:]):
        (tmp_path / "t").write_bytes(damaged)
        with pytest.raises(ValueError, match="table"):
            PairTable.mapped(tmp_path / "t")


def test_a_stamp_follows_the_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("one")
    table = PairTable.of([Pair("x", tmp_path / "a", tmp_path / "b")])
    first = table.stamp()
    assert table.stamp() == first
    os.utime(tmp_path / "b", ns=(0, 12345))
    assert table.stamp() != first


def test_the_second_start_looks_for_nothing(root: Path, searches: list[Any]) -> None:
    first = names(Folder(str(root), CLASSES))
    assert len(searches) == 2
    again = Folder(str(root), CLASSES)
    assert names(again) == first
    assert len(searches) == 2
    assert again.split("train").fingerprint() == Folder(str(root), CLASSES, split_seed=0).split("train").fingerprint()


def test_what_is_unused_is_remembered(root: Path, searches: list[Any]) -> None:
    (root / "images" / "3.png").unlink()
    (root / "images" / "13.gif").write_bytes(b"")
    settle(root)
    first = Folder(str(root), CLASSES).unused
    assert [kind.first for kind in first] == [("13.gif",), ("3",)]
    assert Folder(str(root), CLASSES).unused == first
    assert len(searches) == 2


def test_other_arguments_are_other_pairs(root: Path, searches: list[Any]) -> None:
    first = names(Folder(str(root), CLASSES))
    assert names(Folder(str(root), CLASSES, split_seed=1)) != first
    assert len(searches) == 4
    assert names(Folder(str(root), CLASSES, cache=True, mean=[0.5] * 3, std=[0.2] * 3)) == first
    assert len(searches) == 4


@pytest.mark.parametrize("change", ["add", "remove", "new folder", "behind a link"])
def test_files_that_come_and_go_are_seen(change: str, root: Path, searches: list[Any], tmp_path: Path) -> None:
    if change == "behind a link":
        for kind in ("images", "masks"):
            save(tmp_path / "elsewhere" / kind / "98.png", Image.open(root / kind / "3.png"))
            (root / kind / "more").symlink_to(tmp_path / "elsewhere" / kind)
        settle(root)
        settle(tmp_path / "elsewhere")
    before = names(Folder(str(root), CLASSES))
    for kind, mode in (("images", "RGB"), ("masks", "L")):
        (example,) = (root / kind).glob("3.*")
        if change == "remove":
            example.unlink()
        else:
            place = {"new folder": "new/99", "behind a link": "more/99"}.get(change, "99")
            save(root / kind / f"{place}{example.suffix}", Image.new(mode, (14, 12)))
    after = names(Folder(str(root), CLASSES))
    assert sum(map(len, after.values())) == sum(map(len, before.values())) + (-1 if change == "remove" else 1)
    assert len(searches) == 4


def test_a_changed_list_is_read_again(root: Path) -> None:
    lists = {"train": "train.txt", "val": "val.txt"}
    (root / "train.txt").write_text("1\n2\n")
    (root / "val.txt").write_text("3\n")
    settle(root)
    assert names(Folder(str(root), CLASSES, split="lists", lists=lists))["train"] == ["1", "2"]
    (root / "train.txt").write_text("1\n2\n4\n")
    assert names(Folder(str(root), CLASSES, split="lists", lists=lists))["train"] == ["1", "2", "4"]


def test_what_changed_a_moment_ago_is_not_remembered(make_folder: Callable[..., Path], searches: list[Any]) -> None:
    root = str(make_folder(KEYS))
    assert names(Folder(root, CLASSES)) == names(Folder(root, CLASSES))
    assert len(searches) == 4


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"times": {}, "splits": {"train": "gone"}}'])
def test_a_damaged_note_is_written_anew(damage: bytes, root: Path, searches: list[Any]) -> None:
    first = names(Folder(str(root), CLASSES))
    (note,) = (cache_folder() / "pairs").glob("*.json")
    note.write_bytes(damage)
    assert names(Folder(str(root), CLASSES)) == first
    assert len(searches) == 4


def test_without_a_cache_folder_nothing_is_lost(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = names(Folder(str(root), CLASSES))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert names(Folder(str(root), CLASSES)) == first


def test_a_stamp_that_took_long_is_not_taken_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    table = PairTable.of([Pair("x", tmp_path / "a", tmp_path / "a")])
    monkeypatch.setattr("perpixel.data.files.table._LONG", -1.0)
    monkeypatch.setattr("perpixel.data.files.table._AGAIN", 1e9)
    first = table.stamp()
    os.utime(tmp_path / "a", ns=(0, 12345))
    assert table.stamp() == first


def test_searched_folders_and_read_files(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("")
    assert index.searched_folders(tmp_path, ["images", "*/x/*.png", "one.json"]) == [
        tmp_path / "images",
        tmp_path,
        tmp_path,
    ]
    assert index.read_files(tmp_path, [None, "m.csv:patient", "M.CSV", "(cam\\d)"]) == [
        tmp_path / "m.csv",
        tmp_path / "M.CSV",
        tmp_path / "(cam\\d)",
    ]
