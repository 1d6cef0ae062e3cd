"""Checkpoints on a disk that fails: full, read-only, with bytes that change."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from perpixel.tracking.files import PARTIAL, replacing
from perpixel.training.checkpoint_index import INDEX_FILE
from perpixel.training.store import CheckpointError, CheckpointStore


def newest_step(store: CheckpointStore) -> int:
    found = store.newest_valid("state")
    assert found is not None
    return int(torch.load(found[0], weights_only=True)["step"])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink], ids=["truncated", "one bit flipped", "deleted"])
@pytest.mark.parametrize("with_ledger", [True, False], ids=["", "and the ledger is damaged"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    damage: Callable[[Path], None], with_ledger: bool, store: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    last = store.directory / "state-00000002.ckpt"
    damage(last)
    if not with_ledger:
        truncate(store.directory / INDEX_FILE)
    with caplog.at_level(logging.WARNING):
        assert newest_step(store) == 1
    assert ("state-00000002" if with_ledger else INDEX_FILE) in caplog.text


def test_a_flipped_bit_would_load_unnoticed(store: CheckpointStore) -> None:
    """Why the SHA-256 is needed: torch does not look at the sums in its own files."""
    path = store.directory / "state-00000002.ckpt"
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(2.0).numpy().tobytes() * 8) + 2] ^= 1
    path.write_bytes(content)
    weights = torch.load(path, weights_only=True)["weights"]
    assert not torch.equal(weights, torch.full((1000,), 2.0))
    assert newest_step(store) == 1


def test_only_the_newest_stay(store: CheckpointStore) -> None:
    for step in (3, 4):
        store.write("state", {"step": step}, step)
    store.write("best", {"step": 2}, 2, score=0.5)
    assert [entry.step for entry in store.entries("state")] == [3, 4]
    assert [entry.score for entry in store.entries("best")] == [0.5]
    assert sorted(path.name for path in store.directory.glob("*.ckpt")) == [
        "best-00000002.ckpt",
        "state-00000003.ckpt",
        "state-00000004.ckpt",
    ]


def test_what_a_killed_process_left_is_tidied_and_never_used(store: CheckpointStore) -> None:
    (store.directory / f"{PARTIAL}state-00000003.ckpt.abc").write_bytes(b"half")
    (store.directory / "state-00000003.ckpt").write_bytes(b"whole, but it never entered the list")
    assert newest_step(store) == 2
    store.tidy()
    assert sorted(path.name for path in store.directory.iterdir()) == [
        INDEX_FILE,
        "state-00000001.ckpt",
        "state-00000002.ckpt",
    ]


def test_a_step_that_is_reached_again_does_not_overwrite(store: CheckpointStore) -> None:
    assert store.write("state", {"step": 2}, 2).name == "state-00000002-2.ckpt"
    assert newest_step(store) == 2


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise OSError(errno.ENOSPC, "planted")

    with pytest.raises(OSError, match="planted"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_directory_and_keeps_what_is_there(small_disk: Path) -> None:
    store = CheckpointStore(small_disk / "checkpoints")
    store.write("state", {"step": 1, "weights": torch.zeros(200_000)}, 1)
    with pytest.raises(CheckpointError, match="No space left on device") as error:
        store.write("state", {"step": 2, "weights": torch.zeros(400_000)}, 2)
    assert str(store.directory) in str(error.value)
    assert newest_step(store) == 1
    assert not list(store.directory.glob(f"{PARTIAL}*"))


def test_a_read_only_disk_names_the_directory(small_disk: Path) -> None:
    store = CheckpointStore(small_disk / "checkpoints")
    store.write("state", {"step": 1}, 1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(CheckpointError, match="Read-only file system"):
        store.write("state", {"step": 2}, 2)
    assert newest_step(store) == 1


def test_nothing_is_said_of_one_before_where_there_is_none(
    store: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    for path in store.directory.glob("*.ckpt"):
        truncate(path)
    with pytest.raises(CheckpointError, match=r"state-00000001\.ckpt, .*state-00000002\.ckpt"):
        store.to_go_on_from()
    assert "the one before" not in caplog.text
    assert CheckpointStore(store.directory.parent / "none").to_go_on_from() is None


def test_everything_reaches_the_disk_before_it_is_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes before the name, the name (of the new directory, too) before the list, and the list's bytes before its."""
    done: list[tuple[str, str]] = []
    sync, rename = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name.split(".ckpt")[0]))
        sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        done.append(("rename", target.name.split(".ckpt")[0]))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    run = tmp_path / "run"
    CheckpointStore(run / "checkpoints").write("state", {"step": 1}, 1)
    steps = [(what, name.removeprefix(PARTIAL).split(".json")[0]) for what, name in done]
    assert steps == [
        ("sync", tmp_path.name),  # holds run/
        ("sync", "run"),  # holds checkpoints/
        ("sync", "state-00000001"),
        ("rename", "state-00000001"),
        ("sync", "checkpoints"),
        ("sync", "checkpoints"),  # the list's bytes: checkpoints.json
        ("rename", "checkpoints"),
        ("sync", "checkpoints"),
    ]
