"""Faults injected for real while the command runs: signals, full disks, numbers that are not finite, two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from experiments.soak.soak import soak
from PIL import Image
from tests.commands import Shell, WarmShell, newest
from tests.training.test_data_parallel import DDP, LONG, wait_for
from tests.training.test_resume import assert_same_run

import perpixel
from perpixel.config import ConfigError
from perpixel.training import CheckpointStore, NonFinite
from perpixel.training.callbacks.nonfinite_guard import NonFiniteGuard, Step


def manifest(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return found


@pytest.fixture
def poisoned(tiny: list[str], tiny_root: Path, tmp_path: Path) -> list[str]:
    """The tiny data as floats, one training image of which overflows in a corner."""
    root = tmp_path / "poisoned"
    (root / "images").mkdir(parents=True)
    (root / "masks").symlink_to(tiny_root / "masks")
    for path in sorted((tiny_root / "images").iterdir()):
        image = np.asarray(Image.open(path), np.float32) / 255
        if path.stem == "13":
            image[:8, :8] = 3e38  # finite, but not what a convolution makes of it
        np.save(root / "images" / f"{path.stem}.npy", image)
    still = ["data.source.mean=[0.5,0.5,0.5]", "data.source.std=[0.5,0.5,0.5]"]  # of the others
    return [*tiny, f"data.source.root={root}", "augment=none", "data.size=[32,48]", *still]


def test_a_loss_that_is_not_finite_stops_training_and_names_the_samples(poisoned: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(NonFinite, match="13") as error:
        perpixel.train([*poisoned, f"hydra.run.dir={run}", "training.checkpoint.every_n_steps=1"])
    assert "13" in error.value.names
    assert manifest(run)["status"] == "failed"
    found = CheckpointStore(run / "checkpoints").newest_valid("state")
    assert found is None or found[1].step < error.value.step.number
    assert not list((run / "checkpoints").glob("best-*"))


def test_rollback_trains_on_without_the_offending_batch(poisoned: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["training.on_nan=rollback", "trainer.max_epochs=2", "training.nan_check_steps=2"]
    result = perpixel.train([*poisoned, f"hydra.run.dir={run}", *more])
    assert result.scores["val"]["loss"] is not None
    back = manifest(run)["rolled_back"]
    assert len(back) >= 2  # the sample comes once in each epoch
    assert all("13" in entry["samples"] for entry in back)
    assert newest(run, "state")["global_step"] == 8
    assert all(np.isfinite(line["train/loss"]) for line in history(run))


def test_rollback_of_an_accumulated_step_replaces_all_of_its_samples(poisoned: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["training.on_nan=rollback", "trainer.accumulate_grad_batches=3", "data.batch_size=2"]
    perpixel.train([*poisoned, *more, f"hydra.run.dir={run}"])
    assert 1 <= len(manifest(run)["rolled_back"]) <= 2
    assert newest(run, "state")["global_step"] == 3


@pytest.mark.parametrize(
    "setting",
    [
        "training.on_nan=rolback",
        "training.nan_check_steps=0",
        "training.checkpoint.keep=1",
        "training.checkpoint.every_n_steps=0",
        "training.checkpoint.every_minutes=-1",
        "training.on_nan=rollback trainer.enable_checkpointing=false",
    ],
)
def test_settings_that_would_not_keep_a_promise_are_refused(setting: str, tiny: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"training\."):
        perpixel.train([*tiny, *setting.split()])


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_diverging_training_is_stopped_within_the_steps_that_were_set(tiny: list[str], tmp_path: Path) -> None:
    more = ["optimizer=sgd", "scheduler=constant", "optimizer.lr=1e30", "training.nan_check_steps=3", "loss=ce"]
    with pytest.raises(NonFinite) as error:
        perpixel.train([*tiny, *more, "trainer.max_epochs=5", f"hydra.run.dir={tmp_path / 'run'}"])
    assert error.value.step.number <= 4


def test_changes_must_be_named_and_are_recorded(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    perpixel.train([*tiny, f"hydra.run.dir={run}"])
    with pytest.raises(ConfigError, match="this run is finished"):
        perpixel.train([f"resume={run}"])
    with pytest.raises(ConfigError, match="keeps its loss"):
        perpixel.train([f"resume={run}", "loss=ce"])
    with pytest.raises(ConfigError, match=r"Did you mean 'trainer\.max_epochs'"):
        perpixel.train([f"resume={run}", "trainer.max_epoch=2"])
    with pytest.raises(ConfigError, match="nothing added"):
        perpixel.train([f"resume={run}", "+trainer.max_epoch=2"])
    perpixel.train([f"resume={run}", "trainer.max_epochs=2"])
    (again,) = manifest(run)["resumed"]
    assert again["changes"] == ["trainer.max_epochs=2"]
    assert [line["epoch"] for line in history(run)] == [0, 1]
    assert manifest(run)["status"] == "finished"


def test_what_cannot_be_resumed_is_told(tmp_path: Path, warm_shell: WarmShell) -> None:
    output = warm_shell.run("train", [f"resume={tmp_path / 'nowhere'}"], code=2)
    assert "this is no run directory" in output
    assert "Traceback" not in output


def test_data_that_changed_are_not_trained_on_any_further(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    perpixel.train([*tiny, f"hydra.run.dir={run}"])
    facts = manifest(run)
    (run / "manifest.json").write_text(json.dumps(facts | {"data": {"train": "0" * 64}}))
    with pytest.raises(ValueError, match="has changed since"):
        perpixel.train([f"resume={run}", "trainer.max_epochs=2"])
    perpixel.train([f"resume={run}", "trainer.max_epochs=2", "data.allow_changed=true"])


def test_a_full_disk_ends_the_run_with_its_name_and_the_run_goes_on_once_there_is_room(
    tiny: list[str], small_disk: Path, warm_shell: WarmShell
) -> None:
    run = small_disk / "run"
    every = ["training.checkpoint.every_n_steps=1", "training.checkpoint.keep=100", "trainer.max_epochs=4"]
    output = warm_shell.run("train", [*tiny, *every, f"hydra.run.dir={run}"], code=1)
    assert f"'{run / 'checkpoints'}': No space left on device" in output
    found = CheckpointStore(run / "checkpoints").newest_valid("state")
    assert found is not None
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    warm_shell.run("train", [f"resume={run}"])
    assert manifest(run)["status"] == "finished"
    assert [line["epoch"] for line in history(run)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("before", "named"),
    [
        ("perpixel.training.fit.write_scores", "metrics_images.npz"),
        ("perpixel.workflows.job.save_png", "confusion_val.png"),
        ("perpixel.workflows.job.model_spec", "model"),
    ],
)
def test_a_disk_that_is_full_behind_the_last_checkpoint(
    before: str, named: str, tiny: list[str], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    module, _, function = before.rpartition(".")
    own = getattr(sys.modules[module], function)

    def on_a_full_disk(*arguments: Any) -> Any:
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        return own(*arguments)

    monkeypatch.setattr(sys.modules[module], function, on_a_full_disk)
    run = small_disk / "run"
    with pytest.raises(OSError, match="No space left") as error:
        perpixel.train([*tiny, "training.overlays=0", f"hydra.run.dir={run}"])
    assert str(run / named) in str(error.value)
    assert manifest(run)["status"] == "failed"
    assert not list(run.rglob(".partial-*"))


def test_a_directory_that_cannot_be_written_to_is_named(
    tiny: list[str], small_disk: Path, warm_shell: WarmShell
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    output = warm_shell.run("train", [*tiny, f"hydra.run.dir={small_disk / 'run'}"], code=1)
    assert str(small_disk / "run") in output
    assert "Read-only file system" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_second_process_is_refused(tiny: list[str], shell: Shell) -> None:
    first = shell.start("train", [*tiny, *LONG, "hydra.run.dir=run"])
    run = shell.directory / "run"
    wait_for(lambda: (run / "metrics.jsonl").exists(), first)
    for second in ([*tiny, "hydra.run.dir=run"], ["resume=run"]):
        assert f"is in use by process {first.pid}" in shell.run("train", second, code=1)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 130, output


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], DDP], ids=["one process", "two ranks"])
def test_sigusr1_stops_as_sigterm_does_and_resume_goes_on(extra: list[str], tiny: list[str], shell: Shell) -> None:
    process = shell.start("train", [*tiny, *extra, *LONG, "hydra.run.dir=run"])
    run = shell.directory / "run"
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert manifest(run)["status"] == "interrupted"
    step = newest(run, "state")["global_step"]
    shell.run("train", ["resume=run", f"trainer.max_epochs={step // 4 + 2}", "trainer.check_val_every_n_epoch=1"])
    assert newest(run, "state")["global_step"] > step
    assert manifest(run)["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], DDP], ids=["one process", "two ranks"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_whole_process_group(
    signum: signal.Signals, extra: list[str], tiny: list[str], shell: Shell
) -> None:
    """As clusters send it: the data workers get it, too, and must live until the state is written."""
    more = [*LONG, "data.num_workers=2", "hydra.run.dir=run"]
    process = shell.start("train", [*tiny, *extra, *more], own_group=True)
    run = shell.directory / "run"
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    os.killpg(process.pid, signum)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert manifest(run)["status"] == "interrupted"
    assert newest(run, "state")["global_step"] > 0


TWO_RANKS = [
    *DDP,
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "training.test=false",
    "training.overlays=0",
    "augment=default",
    "model=fpn",  # with dropout and batch normalisation
    "encoder=resnet18",
    "encoder.name=tu-test_resnet",
    "encoder.weights=none",
    "loss=ce",
    "loss._target_=tests.training.stopping.Stopping",
]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_two_ranks_that_were_stopped_equal_two_that_were_not(
    workers: int, tiny: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a validation whose last state is an epoch old, within an epoch, in a validation with a state before it."""
    monkeypatch.setenv("PERPIXEL_PLUGINS", "tests")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    own = [each for each in tiny if not each.startswith("model")]
    common = [*own, *TWO_RANKS, f"data.num_workers={workers}"]
    shell.run("train", [*common, "hydra.run.dir=whole"])
    run, start = shell.directory / "run", [*common, "hydra.run.dir=run"]
    for moment, step in (("val 2", 2), ("train 1", 3), ("val 1", 4)):
        monkeypatch.setenv("STOP_AT", moment)
        shell.run("train", start, code=143)
        assert newest(run, "state")["global_step"] == step
        start = ["resume=run"]
    monkeypatch.delenv("STOP_AT")
    shell.run("train", start)
    assert_same_run(run, shell.directory / "whole")


@pytest.mark.slow
def test_fifty_kills(tiny: list[str], tmp_path: Path) -> None:
    """SIGKILL at random moments and within checkpoint writes; the run ends as if nothing had happened."""
    overrides = [*tiny, "model.width=16", "trainer.max_epochs=300", "trainer.check_val_every_n_epoch=20"]
    overrides += ["training.checkpoint.every_n_steps=2"]
    found = soak(overrides, tmp_path / "killed", tmp_path / "undisturbed", kills=50, in_writes=10)
    assert sum(found.phases.values()) >= 50
    assert found.phases["writing a checkpoint"] >= 10
    assert found.damaged == 0
    assert found.different == []


@pytest.mark.slow
def test_a_second_signal_stops_at_once(tiny: list[str], shell: Shell) -> None:
    process = shell.start("train", [*tiny, *LONG, "hydra.run.dir=run"])
    run = shell.directory / "run"
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    for signum in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):  # both wait for it when it wakes
        process.send_signal(signum)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, -signal.SIGINT)
    assert not CheckpointStore(run / "checkpoints").entries("state")


def test_a_loss_scale_that_has_collapsed_is_not_trained_on_with() -> None:
    """With float16 infinite gradients are skipped one by one; for ever is not finite either."""
    for scale, stops in ((65536.0, False), (1e-5, True)):
        guard = NonFiniteGuard(every_n_steps=10)
        guard._steps = [Step(7, 0, [3], ["a.png"], [torch.tensor(True)])]
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(torch.zeros(()))  # it is made on first use
        precision, network = SimpleNamespace(scaler=scaler), torch.nn.Linear(1, 1)
        trainer: Any = SimpleNamespace(precision_plugin=precision, world_size=1, lightning_module=network)
        with pytest.raises(NonFinite, match=r"a\.png") if stops else nullcontext():
            guard.check(trainer)
