"""Trainings that break: found before anything is kept, and gone back from far enough."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.commands import Shell
from tests.training.test_data_parallel import DDP
from tests.training.test_faults import manifest, poisoned
from tests.training.test_store import flip, truncate

import perpixel
from perpixel.training import CheckpointError, CheckpointStore, NonFinite, SegmentationModule
from perpixel.training.callbacks import NonFiniteGuard, Step
from perpixel.training.rollbacks import MOST_ROLLBACKS, Rollbacks

__all__ = ["poisoned"]
DIVERGING = ["optimizer=sgd", "scheduler=constant", "loss=ce", "optimizer.lr=1e30"]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(optimiser steps so far, modules in training mode) at each training step."""
    own, seen = SegmentationModule.training_step, list[tuple[int, int]]()

    def training_step(self: SegmentationModule, *batch: Any) -> Any:
        seen.append((self.trainer.global_step, sum(module.training for module in self.model.modules())))
        return own(self, *batch)

    monkeypatch.setattr(SegmentationModule, "training_step", training_step)
    return seen


def test_modules_train_behind_a_rollback_as_before_it(
    poisoned: list[str], tmp_path: Path, steps: list[tuple[int, int]]
) -> None:
    """The step that breaks is the last of its epoch or near it, so that only the look before validation finds it."""
    more = ["model.batch_norm=true", "training.on_nan=rollback", "training.nan_check_steps=100", "training.test=false"]
    run = tmp_path / "run"
    perpixel.train([*poisoned, *more, "trainer.max_epochs=2", f"hydra.run.dir={run}"])
    assert len(manifest(run)["rolled_back"]) >= 1
    assert len({training for _, training in steps}) == 1
    assert steps[0][1] > 0


def test_a_bad_sample_in_every_epoch_is_no_reason_to_give_up(
    poisoned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perpixel.training.rollbacks.MOST_ROLLBACKS", 2)
    run = tmp_path / "run"
    more = ["training.on_nan=rollback", "trainer.max_epochs=4", "training.test=false", "training.overlays=0"]
    perpixel.train([*poisoned, *more, f"hydra.run.dir={run}"])
    assert len(manifest(run)["rolled_back"]) > 2


def test_weights_that_the_last_step_broke_are_never_the_best(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(NonFinite, match="weights") as error:
        perpixel.train([*tiny, *DIVERGING, "trainer.limit_train_batches=1", f"hydra.run.dir={run}"])
    assert error.value.step.number == 1
    assert len(error.value.names) == 4
    assert manifest(run)["status"] == "failed"
    assert not list((run / "checkpoints").glob("*.ckpt"))


def test_one_validation_loss_that_is_nan_stops_training_although_their_mean_leaves_it_out(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = SegmentationModule._loss

    def loss(self: SegmentationModule, logits: torch.Tensor, batch: Any) -> torch.Tensor:
        broken = not self.training and batch["name"][0] == first
        return own(self, logits * float("nan") if broken else logits, batch)

    monkeypatch.setattr(SegmentationModule, "_loss", loss)
    first = "?"
    whole = perpixel.train([*tiny, "data.eval_batch_size=1", f"hydra.run.dir={tmp_path / 'whole'}"])
    first = json.loads((whole.directory / "splits.json").read_text())["val"][0]
    with pytest.raises(NonFinite, match=f"loss of the validation samples {first} was"):
        perpixel.train([*tiny, "data.eval_batch_size=1", f"hydra.run.dir={tmp_path / 'run'}"])
    assert not list((tmp_path / "run" / "checkpoints").glob("best-*"))


@pytest.mark.parametrize("every", [1, 3])
def test_training_stops_within_the_steps_that_were_set(
    every: int, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One long epoch: no validation comes to the rescue."""
    at = []
    own = NonFiniteGuard._raise

    def raises(self: NonFiniteGuard, trainer: Any, *rest: Any) -> None:
        at.append(trainer.global_step)
        own(self, trainer, *rest)

    monkeypatch.setattr(NonFiniteGuard, "_raise", raises)
    more = ["data.batch_size=1", f"training.nan_check_steps={every}", f"hydra.run.dir={tmp_path / 'run'}"]
    with pytest.raises(NonFinite) as error:
        perpixel.train([*tiny, *DIVERGING, *more])
    assert at == [every]
    assert error.value.step.number <= every


def test_infinite_gradients_are_seen_before_they_are_clipped_by_value(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plant(self: SegmentationModule) -> None:
        next(parameter for parameter in self.model.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]

    monkeypatch.setattr(SegmentationModule, "on_after_backward", plant, raising=False)
    more = ["trainer.gradient_clip_val=1.0", "trainer.gradient_clip_algorithm=value", f"hydra.run.dir={tmp_path}/run"]
    with pytest.raises(NonFinite, match="gradient was NaN or infinite at step 1 "):
        perpixel.train([*tiny, *more])


def broke(number: int) -> NonFinite:
    return NonFinite(Step(number, 0, [number - 1]), ["a.png"])


def stored(directory: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(directory / "checkpoints")
    for step in steps:
        store.write("state", {"step": step}, step)
    return store


def name(path: Path | None) -> str:
    assert path is not None
    return path.name


def test_a_state_that_leads_no_further_twice_gives_way_to_the_one_before(tmp_path: Path) -> None:
    store = stored(tmp_path, 5, 6)
    rollbacks = Rollbacks(store)
    for expected in ("state-00000006", "state-00000005", "state-00000005"):
        assert rollbacks.may_go_back(broke(7))
        assert name(rollbacks.start()) == f"{expected}.ckpt"
        rollbacks.let_go()
        if expected == "state-00000005":  # the next attempt comes as far as before, and saves
            store.write("state", {"step": 6}, 6)
    assert rollbacks.may_go_back(broke(8))  # further: what is newest is good enough
    assert name(rollbacks.start()).startswith("state-00000006")


def test_a_training_that_gets_no_further_gives_up(tmp_path: Path) -> None:
    rollbacks = Rollbacks(stored(tmp_path, 5, 6))
    found = []
    for _ in range(MOST_ROLLBACKS + 1):
        found.append(rollbacks.may_go_back(broke(7)))
        rollbacks.start()
    assert found == [True] * MOST_ROLLBACKS + [False]


@pytest.fixture
def trained(tiny: list[str], tmp_path: Path) -> Path:
    """A finished run of one epoch with several states."""
    more = ["training.checkpoint.every_n_steps=2", "training.test=false", "training.overlays=0"]
    return perpixel.train([*tiny, *more, f"hydra.run.dir={tmp_path / 'run'}"]).directory


def states(run: Path) -> list[Path]:
    store = CheckpointStore(run / "checkpoints")
    return [store.directory / entry.file for entry in store.entries("state")]


@pytest.mark.parametrize("damage", [truncate, flip])
def test_resuming_names_a_damaged_state_and_uses_the_one_before(
    damage: Callable[[Path], None], trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, last = states(trained)
    damage(last)
    with caplog.at_level(logging.INFO):
        perpixel.train([f"resume={trained}", "trainer.max_epochs=2"])
    assert caplog.text.count(f"checkpoint '{last}' is damaged") == 1
    assert f"going on from {before}" in caplog.text
    assert manifest(trained)["status"] == "finished"


@pytest.mark.parametrize("ledger", [True, False], ids=["", "and the ledger is gone"])
def test_resuming_from_nothing_but_damaged_states_is_refused(ledger: bool, trained: Path) -> None:
    before = states(trained)
    for path in before:
        truncate(path)
    if not ledger:
        (trained / "checkpoints" / "checkpoints.json").unlink()
    with pytest.raises(CheckpointError, match="damaged or missing") as error:
        perpixel.train([f"resume={trained}", "trainer.max_epochs=2"])
    assert all(str(path) in str(error.value) for path in before)
    assert len((trained / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("content", ["[1]", "", "[" * 100_000])
def test_a_damaged_manifest_is_named_with_the_way_out(content: str, trained: Path) -> None:
    (trained / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json' is damaged .* or remove it"):
        perpixel.train([f"resume={trained}", "trainer.max_epochs=2"])
    assert (trained / "manifest.json").read_text() == content


def test_damaged_lines_of_metrics_are_named_and_left_out(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = trained / "metrics.jsonl"
    path.write_text(path.read_text() + '{}\nabc}\n{"epoch": "x"}\n')
    (trained / "manifest.json").unlink()  # as its error advises
    perpixel.train([f"resume={trained}", "trainer.max_epochs=2"])
    assert f"'{path}': 3 of its lines are cut or damaged" in caplog.text
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("on_nan", ["stop", "rollback"])
def test_two_ranks_stop_or_go_back_together(on_nan: str, poisoned: list[str], shell: Shell) -> None:
    more = ["trainer.max_epochs=2", "training.test=false", f"training.on_nan={on_nan}", "hydra.run.dir=run"]
    output = shell.run("train", [*poisoned, *DDP, *more], code=1 if on_nan == "stop" else 0)
    found = manifest(shell.directory / "run")
    if on_nan == "stop":
        assert found["status"] == "failed"
        assert "NaN or infinite at step" in found["error"], output
    else:
        assert found["status"] == "finished"
        assert all("13" in entry["samples"] for entry in found["rolled_back"])
