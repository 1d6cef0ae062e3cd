"""A run that was stopped and resumed equals one that was not, to the bit."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from tests.commands import newest
from tests.conftest import tiny_overrides
from torch import Tensor

import perpixel
from perpixel.config import ConfigError
from perpixel.data import DataModule
from perpixel.training import CheckpointStore, Interrupted, SegmentationModule
from perpixel.training.callbacks import StopOnSignal
from perpixel.workflows import assembly as experiment

BASE = [
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "model.batch_norm=true",
    "augment=default",
    "data.batch_size=2",
    "training.test=false",
    "training.overlays=0",
]
EXACT = ("epoch", "step", "lr", "train/loss", "val/loss", "val/mIoU")


@dataclass
class Moment:
    """When the process sends itself a real signal."""

    where: str = ""
    step: int = -1
    signum: int = signal.SIGTERM

    def maybe(self, where: str, trainer: pl.Trainer) -> None:
        if (where, trainer.global_step) == (self.where, self.step):
            self.where = ""
            os.kill(os.getpid(), self.signum)


@pytest.fixture(scope="module", autouse=True)
def dropout() -> Iterator[None]:
    """Every network here drops pixels of its input in training, from torch's global random stream."""
    build = experiment.build_model

    def build_with_dropout(*arguments: Any) -> Any:
        model = build(*arguments)
        model.register_forward_pre_hook(lambda model, inputs: (F.dropout(inputs[0], 0.2, model.training),))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build_model", build_with_dropout)
        yield


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Moment:
    """Set its fields, and training is stopped there."""
    found = Moment()
    for hook, where in (("on_train_batch_end", "step"), ("on_validation_batch_end", "validation")):
        own = getattr(StopOnSignal, hook)

        def with_signal(self: Any, trainer: Any, *rest: Any, own: Any = own, where: str = where) -> None:
            found.maybe(where, trainer)
            own(self, trainer, *rest)

        monkeypatch.setattr(StopOnSignal, hook, with_signal)
    return found


def lines(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in EXACT if key in line} for line in found]


def assert_equal(first: Any, second: Any, where: str = "") -> None:
    if isinstance(first, Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_equal(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_equal(one, other, f"{where}/{index}")
    else:
        assert first == second or (first != first and second != second), f"{where}: {first} {second}"


def assert_same_run(run: Path, undisturbed: Path) -> None:
    assert lines(run) == lines(undisturbed)
    assert_equal(newest(run, "state"), newest(undisturbed, "state"))
    scores, others = (json.loads((path / "metrics.json").read_text()) for path in (run, undisturbed))
    assert scores == others


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    return perpixel.train([*tiny_overrides(tiny_root, directory), *BASE]).directory


@pytest.mark.parametrize(
    ("moments", "workers"),
    [
        ([("step", 1)], 0),
        ([("step", 2), ("step", 5)], 2),
        ([("step", 4)], 0),  # the end of an epoch, its validation still to come
        ([("validation", 4)], 2),
        ([("validation", 4), ("validation", 4), ("step", 7), ("validation", 12)], 0),
        *(pytest.param(moments, 2, marks=pytest.mark.slow) for moments in ([("step", 1)], [("step", 4)])),
        pytest.param([("step", 2), ("validation", 4), ("step", 7), ("validation", 12)], 2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_stopped_and_resumed_equals_undisturbed(
    moments: list[tuple[str, int]], workers: int, tiny: list[str], undisturbed: Path, moment: Moment
) -> None:
    run = Path(tiny[-1].partition("=")[2]) / "run"
    start = [*tiny, *BASE, f"data.num_workers={workers}", f"hydra.run.dir={run}"]
    for moment.where, moment.step in moments:
        with pytest.raises(Interrupted):
            perpixel.train(start)
        start = [f"resume={run}"]
    perpixel.train(start)
    assert_same_run(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 13))
def test_any_boundary(step: int, tiny: list[str], tmp_path: Path, undisturbed: Path, moment: Moment) -> None:
    """All twelve steps; and what is written on the way costs no exactness."""
    run = tmp_path / "run"
    train_and_stop([*tiny, *BASE, f"hydra.run.dir={run}"], moment, "step", step)
    assert newest(run, "state")["global_step"] == step
    perpixel.train([f"resume={run}"])
    assert_same_run(run, undisturbed)


def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps behind which states are written from now on."""
    own, steps = CheckpointStore.write, list[int]()

    def write(self: CheckpointStore, kind: str, content: Any, step: int, *rest: Any) -> Path:
        steps.extend([step] if kind == "state" else [])
        return own(self, kind, content, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CheckpointStore, "write", write)
    return steps


def test_states_are_written_by_the_clock(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = written(monkeypatch)
    perpixel.train([*tiny, "training.checkpoint.every_minutes=0.00001", "training.overlays=0"])
    assert steps[:4] == [1, 2, 3, 4]


@pytest.mark.parametrize("every", [1, 3])
def test_no_more_steps_are_lost_than_lie_between_two_states(
    every: int, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power fails at step 8 of 12: what is repeated begins behind the last state."""
    steps, own = written(monkeypatch), SegmentationModule.training_step

    def training_step(self: SegmentationModule, *batch: Any) -> Any:
        if self.trainer.global_step == 8:
            raise PowerFailure
        return own(self, *batch)

    run = tmp_path / "run"
    overrides = [*tiny, *BASE, f"training.checkpoint.every_n_steps={every}", f"hydra.run.dir={run}"]
    monkeypatch.setattr(SegmentationModule, "training_step", training_step)
    with pytest.raises(PowerFailure):
        perpixel.train(overrides)
    assert steps == list(range(every, 9, every))
    assert 8 - newest(run, "state")["global_step"] < every


class PowerFailure(BaseException):
    """No handler of ours acts on it."""


def train_and_stop(overrides: list[str], moment: Moment, where: str, step: int) -> None:
    moment.where, moment.step = where, step
    with pytest.raises(Interrupted):
        perpixel.train(overrides)


@pytest.fixture(scope="module")
def wholes() -> dict[str, Path]:
    """Runs that nothing stopped, by what they were started with."""
    return {}


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.val_check_interval=3", "trainer.check_val_every_n_epoch=1"],  # within accumulations, too
        ["trainer.check_val_every_n_epoch=2"],
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [("validation", 3), ("validation", 8), ("step", 5)], ids=str)
def test_other_rhythms_of_validation(
    stop: tuple[str, int], more: list[str], tiny: list[str], tmp_path: Path, moment: Moment, wholes: dict[str, Path]
) -> None:
    run, base = tmp_path / "stopped", [*tiny, *BASE, *more, "trainer.max_epochs=4"]
    moment.where, moment.step = stop
    try:
        perpixel.train([*base, f"hydra.run.dir={run}"])
    except Interrupted:
        perpixel.train([f"resume={run}"])
    moment.where = ""
    whole = wholes.setdefault(str(more), tmp_path / "whole")
    if not whole.exists():
        perpixel.train([*base, f"hydra.run.dir={whole}"])
    assert_same_run(run, whole)


def test_scores_stand_in_the_epoch_that_they_are_of(tiny: list[str]) -> None:
    """Those of the second epoch, and of the last one, because what a training ends with is validated."""
    run = perpixel.train([*tiny, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2"]).directory
    assert ["val/mIoU" in line for line in lines(run)] == [False, True, True]


def test_a_signal_before_the_first_step_ends_with_its_code(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = DataModule.val_dataloader

    def val_dataloader(self: DataModule) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return own(self)

    monkeypatch.setattr(DataModule, "val_dataloader", val_dataloader)
    with pytest.raises(Interrupted) as stop:
        perpixel.train([*tiny, f"hydra.run.dir={tmp_path / 'run'}"])
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_table_of_a_resumed_run_has_all_epochs(tiny: list[str], tmp_path: Path, moment: Moment) -> None:
    run = tmp_path / "run"
    train_and_stop([*tiny, *BASE, f"hydra.run.dir={run}"], moment, "step", 10)
    perpixel.train([f"resume={run}"])
    with (run / "csv" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0.0", "1.0", "2.0"]


def test_a_training_that_ends_within_an_epoch_leaves_its_state(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    early = ["training.early_stopping.patience=1", "optimizer.lr=0.0", "trainer.val_check_interval=0.25"]
    perpixel.train([*tiny, *early, "trainer.max_epochs=9", "training.ema_decay=null", f"hydra.run.dir={run}"])
    step = newest(run, "state")["global_step"]
    assert 0 < step < 4
    perpixel.train([f"resume={run}", "training.overlays=0"])  # patience has run out: nothing is trained
    assert newest(run, "state")["global_step"] == step


def test_without_validation_the_averaged_weights_are_scored_whether_resumed_or_not(
    tiny: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    perpixel.train([*tiny, "trainer.check_val_every_n_epoch=5", "trainer.max_epochs=2", f"hydra.run.dir={run}"])
    first = (run / "metrics.json").read_text()
    perpixel.train([f"resume={run}", "training.overlays=0"])
    assert (run / "metrics.json").read_text() == first


@pytest.mark.parametrize("name", ["a b=(c", "a'b ü,#"])
def test_any_path_can_be_resumed(name: str, tiny: list[str], tmp_path: Path, moment: Moment) -> None:
    train_and_stop([*tiny, f"hydra.run.dir={tmp_path / 'run'}"], moment, "step", 1)
    (tmp_path / "run").rename(tmp_path / name)
    perpixel.train([f"resume={tmp_path / name}"])
    assert newest(tmp_path / name, "state")["global_step"] == 4


def test_a_refused_change_leaves_the_run_as_it_was(tiny: list[str], tmp_path: Path, moment: Moment) -> None:
    run = tmp_path / "run"
    train_and_stop([*tiny, f"hydra.run.dir={run}"], moment, "step", 1)
    with pytest.raises(ConfigError, match="fits the network"):
        perpixel.train([f"resume={run}", "model.width=8"])
    kept = (run / "config.yaml").read_text()
    with pytest.raises(ValueError, match="has changed since"):
        perpixel.train([f"resume={run}", "data.source.classes=[ground,square]"])
    assert (run / "config.yaml").read_text() == kept
    perpixel.train([f"resume={run}"])
