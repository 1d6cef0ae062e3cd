"""The list of checkpoints: gone, damaged, and beside files that are not its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.test_store import newest_step, truncate

from perpixel.tracking.files import PARTIAL
from perpixel.training.checkpoint_index import INDEX_FILE
from perpixel.training.store import CheckpointError, CheckpointStore


def test_without_its_ledger_nothing_is_deleted(store: CheckpointStore) -> None:
    (store.directory / INDEX_FILE).unlink()
    (store.directory / "state-00000003.ckpt").write_bytes(b"half")
    store.tidy()
    assert newest_step(store) == 2
    assert (store.directory / "state-00000003.ckpt").exists()
    assert [entry.step for entry in store.entries("state")] == [1, 2]


def test_the_first_checkpoint_is_listed_once(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    store.write("state", {"step": 1}, 1)
    assert [entry.step for entry in store.entries("state")] == [1]


def test_files_of_the_user_are_left_alone_with_and_without_a_ledger(store: CheckpointStore) -> None:
    names = ["precious.ckpt", "my-backup.ckpt", "state-00000001 (copy).ckpt", f"{PARTIAL}notes"]
    for name in names:
        (store.directory / name).write_bytes((store.directory / "state-00000002.ckpt").read_bytes())
    store.tidy()
    (store.directory / INDEX_FILE).unlink()
    store.tidy()
    assert [entry.step for entry in store.entries("state")] == [1, 2]
    assert all((store.directory / name).exists() for name in names)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "{}", '[{"file": 1}]', "5"])
def test_a_ledger_that_makes_no_sense_is_made_anew(
    content: str, store: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    (store.directory / INDEX_FILE).write_text(content)
    (store.directory / "state-00000003.ckpt").write_bytes(b"half")
    store.tidy()
    assert newest_step(store) == 2
    assert caplog.text.count("it is made anew") == 1
    assert (store.directory / "state-00000003.ckpt").exists()


@pytest.mark.parametrize("content", ["[1]", "{}", None])
def test_states_are_not_forgotten_where_ledger_and_files_are_damaged(
    content: str | None, store: CheckpointStore
) -> None:
    for path in store.directory.glob("*.ckpt"):
        truncate(path)
    store.write("best", {"step": 2}, 2, score=0.5)
    (store.directory / INDEX_FILE).unlink()
    if content is not None:
        (store.directory / INDEX_FILE).write_text(content)
    store.tidy()
    with pytest.raises(CheckpointError, match=r"state-00000001\.ckpt, .*state-00000002\.ckpt"):
        store.to_go_on_from()
