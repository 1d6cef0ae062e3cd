"""A run that was stopped and resumed equals one that was not, to the bit."""

from __future__ import annotations

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
from tests.cli.conftest import newest
from tests.conftest import tiny_overrides
from torch import Tensor

import perpixel
from perpixel.cli import experiment
from perpixel.training import Interrupted
from perpixel.training.callbacks import StopOnSignal

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


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "moments",
    [
        [("step", 1)],
        [("step", 2), ("step", 5)],
        [("step", 4)],  # the end of an epoch, its validation still to come
        [("validation", 4)],
        [("validation", 4), ("validation", 4), ("step", 7), ("validation", 12)],
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
