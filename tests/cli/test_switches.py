"""Every switch of a training does what it says, seen in what the run leaves."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

import perpixel
from perpixel.config import ConfigError
from perpixel.config.compose import compose
from perpixel.training import CheckpointStore
from perpixel.workflows import job
from perpixel.workflows.assembly import config_faults
from perpixel.workflows.job import OutOfMemory
from tests.commands import WarmShell, newest


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "switch",
    [
        "trainer.precision=bf16-mixed",
        "training.channels_last=true",
        "trainer.gradient_clip_val=0.1",
        "optimizer=sgd",
        "scheduler=poly",
        "augment=strong",
        "training.checkpoint.monitor=val/loss training.checkpoint.mode=min",
        "data.num_workers=1",
        "trainer.fast_dev_run=true",
    ],
)
def test_trains_with(switch: str, tiny: list[str]) -> None:
    result = perpixel.train([*tiny, *switch.split()])
    score = result.scores["test"]["mIoU"]
    assert score is not None
    assert 0.0 <= score <= 1.0


def test_accumulation_makes_one_optimiser_step_of_several_batches(tiny: list[str]) -> None:
    plain, accumulated = (
        history(perpixel.train([*tiny, *more]).directory) for more in ([], ["trainer.accumulate_grad_batches=2"])
    )
    assert plain[-1]["step"] == 4
    assert accumulated[-1]["step"] == 2


def test_accumulation_equals_the_larger_batch(tiny: list[str]) -> None:
    """Without batch norm the mean of two half-batch gradients is the whole batch's gradient."""
    same = [*tiny, "loss=ce", "optimizer=sgd", "scheduler=constant", "model.batch_norm=false", "augment=none"]
    same += ["data.size=[32,48]", "trainer.limit_train_batches=4", "data.num_workers=0"]
    whole = perpixel.train([*same, "data.batch_size=4"])
    halves = perpixel.train(
        [*same, "data.batch_size=2", "trainer.limit_train_batches=8", "trainer.accumulate_grad_batches=2"]
    )
    first, second = (newest(result.directory, "state")["state_dict"] for result in (whole, halves))
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=1e-3, atol=1e-5)


def test_the_schedule_steps_with_the_optimiser(tiny: list[str]) -> None:
    lines = history(perpixel.train([*tiny, "trainer.max_epochs=2", "scheduler=poly", "optimizer.lr=0.01"]).directory)
    assert [line["step"] for line in lines] == [4, 8]
    assert lines[0]["lr"] == pytest.approx(0.01 * (1 - 4 / 7) ** 0.9)


def test_early_stopping_stops(tiny: list[str]) -> None:
    settings = ["trainer.max_epochs=50", "training.early_stopping.patience=1", "optimizer.lr=0.0"]
    assert len(history(perpixel.train([*tiny, *settings]).directory)) == 2


def test_a_mid_epoch_checkpoint_cadence_is_kept(tiny: list[str]) -> None:
    settings = ["training.checkpoint.every_n_steps=3", "training.checkpoint.keep=5", "trainer.max_epochs=2"]
    store = CheckpointStore(perpixel.train([*tiny, *settings]).directory / "checkpoints")
    assert [entry.step for entry in store.entries("state")] == [3, 6, 8]


def test_sample_limits_and_unscored_tests(tiny: list[str]) -> None:
    result = perpixel.train([*tiny, "data.limit=8", "training.test=false"])
    assert set(result.scores) == {"val"}
    assert history(result.directory)[-1]["step"] == 2
    assert json.loads((result.directory / "manifest.json").read_text())["looks"] == {}


def test_a_loss_that_does_not_go_with_the_model_stops_a_sweep_before_its_first_job(warm_shell: WarmShell) -> None:
    choices = [
        "model=mask2former",
        "encoder=resnet18",
        "loss=mask2former,dice",
        f"output={warm_shell.directory / 'runs'}",
    ]
    answer = warm_shell.run("train", ["-m", *choices], code=2)
    assert "Dice compares pixels one by one. Use loss=mask2former" in answer
    assert not (warm_shell.directory / "runs").exists()


def test_the_set_loss_is_refused_by_models_that_label_pixels() -> None:
    (fault,) = config_faults(compose(["model=unet", "encoder=resnet18", "loss=mask2former"]).cfg)
    assert "loss=mask2former matches sets of masks, and Unet labels pixels one by one" in fault


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        (["encoder=resnt34"], "Did you mean 'resnet34'? encoder is one of: convnext_tiny"),
        (["encoder=regnety_004"], "resnet50, or encoder.name=<any encoder of smp or timm>."),
        (
            ["model=fpn", "model.skips=false"],
            "no such key here: it belongs to model=linknet, manet, starter_unet, unet, unetplusplus.",
        ),
        (["optimizer.momentum=0.9"], "it belongs to optimizer=sgd."),
        (["model=fpn", "model.merg=cat"], "model.merg: there is no such key. Did you mean 'model.merge'?"),
    ],
)
def test_what_is_not_in_the_configs_is_told_where_it_is(choices: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(choices)
    assert told in str(caught.value)


def test_all_that_does_not_go_together_is_told_at_once() -> None:
    job = compose(["model=mask2former", "encoder=resnet18", "decoder=transposed", "loss=dice"])
    upsampling, loss = config_faults(job.cfg)
    assert "decoder=transposed could replace" in upsampling
    assert "Use loss=mask2former" in loss


def test_images_too_small_for_a_checkerboard_score_are_told(tiny: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        result = perpixel.train(tiny)
    assert "no checkerboard score: the validation images have 32×48 pixels, and it takes 56" in caplog.text
    assert "checkerboard" not in json.loads((result.directory / "manifest.json").read_text())


@pytest.mark.slow
def test_compiled_training(tiny: list[str]) -> None:
    plain, compiled = (perpixel.train([*tiny, f"training.compile={value}"]) for value in ("false", "true"))
    for name, score in plain.scores["val"].items():
        assert compiled.scores["val"][name] == pytest.approx(score, abs=0.02), name


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_says_which_settings_to_change(
    error: Exception, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> None:
        raise error

    monkeypatch.setattr(job, "fit", exhausted)
    with pytest.raises(OutOfMemory, match=r"data\.batch_size.*trainer\.precision"):
        perpixel.train(tiny)


def test_sync_batchnorm_needs_a_gpu(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    anywhere = [override for override in tiny if not override.startswith("trainer.accelerator")]
    with pytest.raises(ValueError, match="on GPUs only, and here is none"):
        perpixel.train([*anywhere, "trainer.sync_batchnorm=true"])


def test_a_failure_is_recorded_with_its_error(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only 4 optimiser steps"):
        perpixel.train([*tiny, "scheduler.warmup_steps=99", f"hydra.run.dir={tmp_path / 'run'}"])
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "only 4 optimiser steps" in manifest["error"]
    assert "Traceback" in (tmp_path / "run" / "error.txt").read_text()


def wandb_records(log: Path) -> list[bytes]:
    """The records of an offline run's log, which is a LevelDB log: 32 KiB blocks of (crc, length, type) and a piece."""
    data, place, found = log.read_bytes(), 7, [b""]
    while place < len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        found[-1] += data[place + 7 : place + 7 + length]
        if kind in (1, 4):  # whole, or the last piece
            found.append(b"")
        place += 7 + length
    return found[:-1]


def test_wandb_marks_a_failed_run_failed(tiny: list[str], warm_shell: WarmShell) -> None:
    """Read back from the offline run's own log: its exit record."""
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    warm_shell.run("train", [*tiny, "logger=wandb", "scheduler.warmup_steps=99", "hydra.run.dir=run"], code=1)
    (log,) = (warm_shell.directory / "run" / "wandb").glob("offline-run-*/*.wandb")
    records = [wandb_internal_pb2.Record.FromString(data) for data in wandb_records(log)]
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [1]
    assert [record.run.run_group for record in records if record.HasField("run")][:1] == [""]


def test_keys_for_files_are_refused_where_there_are_none() -> None:
    (fault,) = config_faults(compose(["data=earth", "data.policy=mine.yaml"]).cfg)
    assert fault == "data.policy=mine.yaml: Earth takes none; leave it out."
    assert not config_faults(compose(["data=earth", "data.on_bad_file=error"]).cfg)


@pytest.mark.parametrize("listed", [True, False])
def test_one_class_in_all_is_refused(listed: bool, tiny: list[str], tmp_path: Path) -> None:
    """Every prediction would be right, and a mIoU of 1 mean nothing."""
    (tmp_path / "one.yaml").write_text("ignore: 0\nclasses: [{name: thing, from: [1, 2]}]")
    others = [override for override in tiny if not override.startswith("data.source.classes")]
    one = "data.source.classes=[thing]" if listed else f"data.policy={tmp_path / 'one.yaml'}"
    with pytest.raises(ValueError, match=r"only one class, 'thing'.*classes=\[background,thing\].*instead of 'ignore"):
        perpixel.train([*others, one])
