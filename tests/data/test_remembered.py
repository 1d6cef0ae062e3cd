from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from perpixel.data import Folder
from perpixel.data.files.file_cache import cache_folder, remembered, stamp, write_whole


def test_computes_once_per_key() -> None:
    calls: list[int] = []

    def compute() -> str:
        calls.append(1)
        return "result"

    assert [remembered("kind", key, compute) for key in ("a", "a", "b")] == ["result"] * 3
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert remembered("kind", "a", lambda: "computed") == "computed"


@pytest.mark.parametrize("damage", [b"", b"\0" * 80, b"\xff", slice(None, -1), slice(1, None)])
def test_a_damaged_entry_is_computed_anew(damage: bytes | slice) -> None:
    remembered("kind", "a", lambda: "[1, 2, 3]")
    (entry,) = cache_folder().iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[damage] if isinstance(damage, slice) else damage)
    assert remembered("kind", "a", lambda: "[4]") == "[4]"
    assert remembered("kind", "a", lambda: "[5]") == "[4]"


def test_a_stamp_follows_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    first = stamp([path])
    assert stamp([path]) == first
    os.utime(path, ns=(0, 12345))
    assert stamp([path]) != first


def test_faults_of_the_moment_are_forgotten(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    split = Folder(str(make_folder([f"{i}" for i in range(9)])), ["a", "b", "c"]).split("train")

    def refuse(*_: object) -> None:
        raise ValueError("Permission denied")

    with monkeypatch.context() as moment:
        moment.setattr("perpixel.data.masks.reader.read_values", refuse)
        with pytest.raises(ValueError, match="Permission denied"):
            split.verify()
    split.verify()
    assert split.inspect().present == [0, 1, 2]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_are_as_readable_as_any_new_file(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "new" / "splits.json", b"{", b"}")
    finally:
        os.umask(before)
    (written,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == mode
    assert written.read_bytes() == b"{}"


def test_another_schema_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered("kind", "a", lambda: "old")
    monkeypatch.setattr("perpixel.data.files.file_cache.SCHEMA", 0)
    assert remembered("kind", "a", lambda: "new") == "new"
