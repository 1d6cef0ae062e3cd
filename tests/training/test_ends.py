"""What a training ends with is validated, what was scored is said, and a finished run stays what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.commands import newest, rescore
from tests.conftest import tiny_overrides

import perpixel
from perpixel.config import ConfigError
from perpixel.config.schema import CheckpointConfig, EarlyStoppingConfig, TrainingConfig
from perpixel.reporting.report import write_report
from perpixel.tracking import manifest
from perpixel.tracking.runs import load_run
from perpixel.training import CheckpointStore
from perpixel.training.fit import _early_stopping

FAST = ["training.overlays=0", "evaluation=none", "scheduler=constant"]


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def scores(run: Path, split: str = "val") -> dict[str, Any]:
    return rescore(run, split)


@pytest.fixture(scope="module")
def ended(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ends in the third step of its second epoch of four; a quarter of val is scored, and nothing of test."""
    directory = tmp_path_factory.mktemp("ended")
    settings = [
        "trainer.max_epochs=9",
        "trainer.max_steps=7",
        "trainer.val_check_interval=0.5",
        "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=0",
        "trainer.profiler=simple",
        "data.eval_batch_size=1",
        "training.checkpoint.monitor=val/loss",
    ]
    run = perpixel.train([*tiny_overrides(tiny_root, directory), *FAST, *settings]).directory
    assert load_run(run).status == "finished"
    return run


@pytest.fixture
def copied(ended: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "run"))


def test_every_validation_has_its_line_and_the_end_is_validated(ended: Path) -> None:
    found = lines(ended)
    assert [(line["epoch"], line["step"]) for line in found] == [(0, 2), (0, 4), (1, 6), (1, 7)]
    assert all({"val/loss", "val/mIoU", "val/IoU/disc", "lr", "time_s"} <= line.keys() for line in found)
    assert ["train/loss" in line for line in found] == [False, True, False, True]
    assert "val/mBoundaryIoU" not in found[-1]
    assert [row.count(",") for row in (ended / "csv" / "metrics.csv").read_text().splitlines()][1:] != []


def test_the_lowest_loss_is_the_best_and_the_weights_kept_are_of_the_end(ended: Path) -> None:
    losses = [line["val/loss"] for line in lines(ended)]
    assert losses == sorted(losses, reverse=True), "it falls, so the last weights are the best"
    entries = CheckpointStore(ended / "checkpoints").entries("best")
    assert [entry.step for entry in entries] == [6, 7]
    assert entries[-1].score == losses[-1]
    kept, state = (newest(ended, kind)["state_dict"] for kind in ("best", "state"))
    assert newest(ended, "state")["global_step"] == 7
    assert all(torch.equal(kept[name], state[name]) for name in kept)
    assert load_run(ended).best_epoch == 1


def test_what_stops_early_looks_the_same_way() -> None:
    for monitor, mode in {"val/loss": "min", "val/mIoU": "max", "val/IoU/disc": "max"}.items():
        settings = TrainingConfig(
            early_stopping=EarlyStoppingConfig(patience=1), checkpoint=CheckpointConfig(monitor=monitor)
        )
        assert _early_stopping(settings).mode == mode  # type: ignore[attr-defined]


def test_a_part_is_marked_and_nothing_has_no_score(ended: Path, tmp_path: Path) -> None:
    found = json.loads((ended / "metrics.json").read_text())
    assert found["val"]["part"] == {"pixels": 32 * 48, "of": 4 * 32 * 48}
    assert sum(map(sum, found["val"]["confusion"])) == 32 * 48
    assert "test" not in found
    assert not (ended / "confusion_test.png").exists()
    assert manifest.read(ended)["looks"] == {}, "nobody looked at test"
    assert load_run(ended).part == "val: 1,536 of 6,144 pixels"
    assert "Scored in part (val: 1,536 of 6,144 pixels)" in (ended / "report.html").read_text()
    shutil.copytree(ended, tmp_path / "0_job", ignore=shutil.ignore_patterns("checkpoints", "model"))
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": [{"num": 0, "dir": "0_job", "overrides": ["seed=1"]}]}))
    assert "* val: 1,536 of 6,144 pixels" in write_report(tmp_path).read_text()


def test_evaluate_lifts_the_limits(copied: Path) -> None:
    assert "part" not in (whole := scores(copied))
    assert sum(map(sum, whole["confusion"])) == 4 * 32 * 48
    assert scores(copied, "test")["mIoU"] is not None


def test_a_finished_run_without_best_weights_is_scored_from_what_it_left(copied: Path) -> None:
    """Its saved model, or its last state: here all three hold the same weights."""
    best = scores(copied)
    for entry in CheckpointStore(copied / "checkpoints").entries("best"):
        CheckpointStore(copied / "checkpoints").drop(entry)
    assert scores(copied) == best
    shutil.rmtree(copied / "model")
    assert scores(copied) == best
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(ValueError, match=r"neither in model/ nor in checkpoints/"):
        scores(copied)
    manifest.update(copied, status="failed")
    with pytest.raises(ValueError, match="this run is failed and left no weights"):
        scores(copied)


REFUSED: dict[str, tuple[list[str], str]] = {
    "fewer steps": (["trainer.max_steps=6"], r"max_steps=6 ends before.*7 steps"),
    "fewer epochs": (["trainer.max_steps=-1", "trainer.max_epochs=1"], r"max_epochs=1 ends before.*2 epochs"),
    "no data": (["trainer.max_steps=9", "data.source.root=/nowhere"], "no images found"),
    "no such class": (["training.checkpoint.monitor=val/IoU/dsic"], "Did you mean 'val/IoU/disc'"),
    "less than a batch": (
        ["trainer.limit_test_batches=0.1"],
        r"limit_test_batches=0\.1: the split has 4 batches.*Give 0\.25",
    ),
    "no such device": (["trainer.accelerator=mps"], "torch finds no such device here"),
    "no such GPU": (["trainer.devices=[0]"], "Give a number of devices"),
    "too far apart": (["trainer.max_steps=9", "trainer.val_check_interval=99"], "val_check_interval"),
}


def test_a_resume_that_fails_before_it_starts_leaves_a_finished_run_finished(copied: Path) -> None:
    manifest.update(copied, looks={"test": 3})
    before = {name: (copied / name).read_text() for name in ("manifest.json", "config.yaml", "metrics.jsonl")}
    for changes, told in REFUSED.values():
        with pytest.raises(ValueError, match=told):
            perpixel.train([f"resume={copied}", *changes])
        assert {name: (copied / name).read_text() for name in before} == before
        assert not (copied / "error.txt").exists()


def test_a_training_that_fails_behind_its_first_state_is_failed(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no model")

    monkeypatch.setattr("perpixel.bundle.ModelBundle.save", broken)
    with pytest.raises(RuntimeError, match="no model"):
        perpixel.train([f"resume={copied}", "trainer.max_steps=8"])
    assert load_run(copied).status == "failed"


def test_resuming_repeats_nothing_and_goes_on_behind_the_end(copied: Path) -> None:
    """The state is older than the validation of the end: that is made again, and what was best stays best."""
    files = ("metrics.jsonl", "metrics.json")
    before = {name: (copied / name).read_text() for name in files}
    perpixel.train([f"resume={copied}", "training.nan_check_steps=9"])
    assert {name: (copied / name).read_text() for name in files} == before
    perpixel.train([f"resume={copied}", "trainer.max_steps=9"])
    assert [line["step"] for line in lines(copied)] == [2, 4, 6, 7, 8, 9]
    assert ["train/loss" in line for line in lines(copied)] == [False, True, False, False, True, True]
    assert all("val/loss" in line for line in lines(copied))


def test_another_monitor_forgets_what_was_best_by_the_old_one(copied: Path) -> None:
    perpixel.train([f"resume={copied}", "trainer.max_steps=8", "training.checkpoint.monitor=val/mIoU"])
    assert CheckpointStore(copied / "checkpoints").entries("best")[-1].score == lines(copied)[-1]["val/mIoU"]


def test_without_checkpoints_a_run_is_validated_scored_and_not_resumed(tiny: list[str]) -> None:
    run = perpixel.train(
        [*tiny, *FAST, "trainer.enable_checkpointing=false", "trainer.check_val_every_n_epoch=5"]
    ).directory
    assert not (run / "checkpoints").exists()
    assert "val/mIoU" in lines(run)[-1]
    assert scores(run)["mIoU"] == json.loads((run / "metrics.json").read_text())["val"]["mIoU"]
    with pytest.raises(ConfigError, match=r"kept no state to go on from.*init_from="):
        perpixel.train([f"resume={run}", "trainer.max_epochs=2"])


def test_the_profile_stands_in_the_run(ended: Path) -> None:
    assert "run_training_batch" in (ended / "fit-profile.txt").read_text()


def test_the_end_is_validated_where_time_is_up(tiny: list[str]) -> None:
    """And where validations are further apart than epochs."""
    more = ["trainer.max_time=00:00:00:00", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2"]
    run = perpixel.train([*tiny, *FAST, *more]).directory
    assert "val/mIoU" in lines(run)[-1]
