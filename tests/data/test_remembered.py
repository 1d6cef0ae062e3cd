from __future__ import annotations

import os
from pathlib import Path

import pytest

from perpixel.data.remembered import remembered, stamp


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


def test_a_stamp_follows_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    first = stamp([path])
    assert stamp([path]) == first
    os.utime(path, ns=(0, 12345))
    assert stamp([path]) != first
