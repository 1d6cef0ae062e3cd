"""Data that moved, runs that moved, and output that nobody reads on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import perpixel
from perpixel.config import ConfigError, changed_config, compose, read_run_config
from perpixel.workflows.assembly import config_faults
from tests.commands import ROOT, environment, rescore


def score(run: Path, *more: str) -> float:
    return float(rescore(run, "val", *more)["mIoU"])


def test_data_that_moved_are_found_by_the_advice_that_is_given(
    tiny: list[str], tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(tiny_root, tmp_path / "2024")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    overrides = [one for one in tiny if not one.startswith("data.source.root")]
    run = perpixel.train([*overrides, "data.source.root=2024"]).directory
    assert OmegaConf.load(run / "config.yaml").data.source.root == str(tmp_path / "2024")
    monkeypatch.chdir(tmp_path / "elsewhere")
    caplog.clear()
    first = score(run)
    assert "random weights" not in caplog.text
    (tmp_path / "2024").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"Set data\.source\.root"):
        score(run)
    assert score(run, "data.source.root=../moved", "data.num_workers=0") == first
    for wrong, message in (
        ("data.source.rot=../moved", r"data\.source\.rot: .*Did you mean 'data\.source\.root'"),
        ("data.source._target_=perpixel.data.Earth", "the kind of data"),
    ):
        with pytest.raises(ConfigError, match=message):
            changed_config(read_run_config(run / "config.yaml"), [wrong])
    with pytest.raises(ValueError, match="has changed since it was trained"):
        score(run, "data.source.root=../moved", "data.source.split_seed=3")
    before = json.loads((run / "manifest.json").read_text())["id"]
    run = run.rename(tmp_path / "run")
    perpixel.train([f"resume={run}", "data.source.root=../moved", "trainer.max_epochs=2"])
    assert json.loads((run / "manifest.json").read_text())["id"] == before
    assert OmegaConf.load(run / "config.yaml").data.source.root == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["scheduler.warmup_start=-1"], "scheduler.warmup_start=-1"),
        (["scheduler.end=-2"], "scheduler.end=-2"),
        (["scheduler=poly", "scheduler.power=-1"], "scheduler.power=-1"),
        (["scheduler=step", "scheduler.gamma=-1"], "scheduler.gamma=-1"),
        (["scheduler.start=.nan"], "scheduler.start="),
        (["optimizer.weight_decay=-1"], "optimizer.weight_decay=-1"),
        (["optimizer.betas=[0.9,1.5]"], "optimizer.betas"),
        (["optimizer=sgd", "optimizer.momentum=-1"], "optimizer.momentum=-1"),
        (["logger=wandb", "logger.timeout_s=0"], "logger.timeout_s=0"),
    ],
)
def test_values_out_of_range_are_told_before_anything_starts(overrides: list[str], told: str) -> None:
    try:
        found = "\n".join(config_faults(compose(overrides).cfg))
    except ConfigError as error:
        found = str(error)
    assert told in found


@pytest.mark.parametrize(
    "override",
    [
        "trainer.gradient_clip_algorithm=foo",
        "trainer.gradient_clip_val=-1",
        "trainer.max_time=soon",
        "trainer.check_val_every_n_epoch=0",
        "trainer.deterministic=maybe",
        "trainer.fast_dev_run=-1",
        "trainer.num_sanity_val_steps=-2",
    ],
)
def test_what_lightning_refuses_is_refused_by_its_key(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        compose([override])


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_share_of_less_than_a_batch_is_told_before_training(split: str, tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=rf"trainer\.limit_{split}_batches=0\.1: the split has \d+ batches"):
        perpixel.train([*tiny, f"trainer.limit_{split}_batches=0.1", f"hydra.run.dir={run}"])
    assert not (run / "metrics.jsonl").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_output_that_nobody_reads_ends_without_a_traceback(arguments: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "src" / "train.py"), *arguments],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0


def test_the_notebook_completes_the_public_names() -> None:
    assert {"train", "TrainResult", "__version__"} <= set(dir(perpixel))
