from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from perpixel.config import ConfigError, compose
from perpixel.sweeps.identity import asked, settled
from perpixel.sweeps.ledger import Ledger, Request, Row, claimed
from perpixel.tracking.code import code_digest

SPAWN = multiprocessing.get_context("fork")


def wish(*overrides: str, data: dict[str, str] | None = None) -> Request:
    return Request(overrides, "+".join(overrides), lambda: data or {"train": "a"})


def leave(ledger: Ledger, row: Row, status: str, **facts: Any) -> None:
    """What a run of a job leaves."""
    run = ledger.directory / row.dir
    run.mkdir(exist_ok=True)
    manifest = {"status": status, "data": {"train": "a"}, "code": code_digest()} | facts
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "sweep")


@pytest.fixture
def begun(ledger: Ledger) -> Ledger:
    """Four jobs: finished, failed, killed, not begun."""
    start = ledger.begin([wish("loss=ce"), wish("loss=dice"), wish("loss=focal"), wish("loss=jaccard")])
    for (row, _), status in zip(start.jobs, ("finished", "failed", "running"), strict=False):
        leave(ledger, row, status)
    return ledger


def again(ledger: Ledger, *losses: str, **how: Any) -> dict[str, str]:
    start = ledger.begin([wish(f"loss={loss}") for loss in losses], **how)
    return {row.dir: state for row, state in start.jobs}


def test_the_same_command_keeps_goes_on_and_begins_what_is_left(begun: Ledger) -> None:
    expected = {"0_loss-ce": "kept", "1_loss-dice": "failed", "2_loss-focal": "resumed", "3_loss-jaccard": "new"}
    assert again(begun, "ce", "dice", "focal", "jaccard") == expected
    assert again(begun, "dice", retry=True) == {"1_loss-dice": "retried"}
    assert len(begun.rows()) == 4


def test_another_value_gets_the_next_number_and_trains_alone(begun: Ledger) -> None:
    start = begun.begin([wish("loss=ce"), wish("loss=lovasz")])
    assert [(row.num, state) for row, state in start.jobs] == [(0, "kept"), (4, "new")]
    assert [row.dir for row in begun.todo(start.id)] == ["4_loss-lovasz"]
    assert str(start) == "1 finished and kept, 1 new"


def test_a_job_that_is_asked_for_twice_is_one(ledger: Ledger) -> None:
    assert again(ledger, "ce", "ce") == {"0_loss-ce": "new"}


def test_other_data_make_another_job(begun: Ledger) -> None:
    start = begun.begin([wish("loss=ce", data={"train": "b"})])
    assert [(row.num, state) for row, state in start.jobs] == [(4, "new")]
    assert [(row.num, state) for row, state in begun.begin([wish("loss=ce")]).jobs] == [(0, "kept")]


def test_jobs_of_other_code_are_used_only_when_that_is_said(begun: Ledger) -> None:
    leave(begun, begun.rows()[0], "finished", code="other")
    before = begun.path.read_text()
    with pytest.raises(ConfigError, match=r"sweep\.stale=keep"):
        again(begun, "ce", "jaccard")
    assert begun.path.read_text() == before
    assert again(begun, "ce", stale="keep") == {"0_loss-ce": "kept"}
    assert again(begun, "ce", stale="repeat") == {"4_loss-ce": "new"}
    assert again(begun, "ce", stale="repeat") == {"4_loss-ce": "new"}, "one repetition, not two"


def test_a_job_that_failed_is_repeated_by_whatever_code(begun: Ledger) -> None:
    leave(begun, begun.rows()[1], "failed", code="other")
    assert again(begun, "dice", retry=True) == {"1_loss-dice": "retried"}


def begin_at_once(directory: Path, seeds: range) -> None:
    Ledger(directory).begin([wish(f"seed={seed}") for seed in seeds])


def test_writers_at_once_give_each_job_one_number(tmp_path: Path) -> None:
    writers = [SPAWN.Process(target=begin_at_once, args=(tmp_path / "s", range(n, n + 6))) for n in (0, 3, 0, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = Ledger(tmp_path / "s").rows()
    assert [row.num for row in rows] == list(range(9))
    assert len({row.overrides for row in rows}) == 9


def hold(run: Path, told: Any) -> None:
    with claimed(run) as ours:
        told.send(ours)
        time.sleep(60)


def test_a_claim_is_one_process_s_until_it_dies(tmp_path: Path) -> None:
    ours, theirs = SPAWN.Pipe()
    holder = SPAWN.Process(target=hold, args=(tmp_path / "job", theirs))
    holder.start()
    assert ours.recv() is True
    with claimed(tmp_path / "job") as mine:
        assert not mine
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with claimed(tmp_path / "job") as mine:
        assert mine


def begin_on_a_full_disk(directory: Path, told: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    try:
        Ledger(directory).begin([wish("loss=new")])
    except OSError as error:
        told.send(error.filename)


def test_a_full_disk_leaves_the_ledger_as_it_was(begun: Ledger) -> None:
    before = begun.path.read_text()
    ours, theirs = SPAWN.Pipe()
    writer = SPAWN.Process(target=begin_on_a_full_disk, args=(begun.directory, theirs))
    writer.start()
    assert ours.recv() == str(begun.path)
    writer.join()
    assert begun.path.read_text() == before
    assert not list(begun.directory.glob(".partial*"))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"jobs": [{"num": 0, "dir": "../../elsewhere"}]}'])
def test_a_damaged_ledger_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ConfigError, match=r"sweep\.json' is no list of a sweep's jobs"):
        Ledger(tmp_path).begin([wish("loss=ce")])


BASE = ["data=folder", "data.source.root=a", "data.source.classes=[x,y]"]


@pytest.mark.parametrize(
    "change",
    ["data.source.root=b", "output=elsewhere", "logger=tensorboard", "data.num_workers=3", "sweep.retry=true"],
)
def test_where_a_job_lies_and_who_is_told_does_not_make_another(change: str) -> None:
    assert asked(compose([*BASE, change]).cfg) == asked(compose(BASE).cfg)


@pytest.mark.parametrize("change", ["seed=1", "optimizer.lr=0.5", "loss=ce", "data.batch_size=3"])
def test_what_changes_the_weights_makes_another_job(change: str) -> None:
    assert asked(compose([*BASE, change]).cfg) != asked(compose(BASE).cfg)


def test_a_resumed_job_keeps_what_was_measured_and_takes_what_is_not_its_own() -> None:
    saved = compose(BASE).cfg
    saved.data.mean, saved.data.std, saved.data.batch_size = [0.1] * 3, [0.2] * 3, 5
    cfg = settled(compose([*BASE, "data.source.root=moved", "data.num_workers=2"]).cfg, saved)
    assert (list(cfg.data.mean), cfg.data.batch_size) == ([0.1] * 3, 5)
    assert (cfg.data.source.root, cfg.data.num_workers) == ("moved", 2)
