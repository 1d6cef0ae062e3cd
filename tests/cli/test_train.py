from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

import perpixel
from tests.commands import Shell, WarmShell, newest

FILES = [
    "config.yaml",
    "overrides.yaml",
    "manifest.json",
    "metrics.jsonl",
    "metrics.json",
    "first_batch.png",
    "curves.png",
    "confusion_val.png",
    "report.html",
    "checkpoints/checkpoints.json",
    "model/model.safetensors",
    "model/model.json",
]


@pytest.fixture(scope="module")
def trained(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with EMA, trained through the notebook API."""
    run = tmp_path_factory.mktemp("trained") / "run"
    overrides = [
        "data=folder",
        f"data.source.root={tiny_root}",
        "data.source.classes=[ground,square,disc]",
        "data.size=[32,32]",
        "data.batch_size=4",
        "data.num_workers=0",
        "model=starter_unet",
        "model.width=4",
        "trainer.max_epochs=2",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "training.overlays=2",
        "training.ema_decay=0.9",
        f"hydra.run.dir={run}",
    ]
    result = perpixel.train(overrides)
    assert result.directory == run
    assert set(result.scores) == {"val", "test"}
    assert result.scores["test"]["mIoU"] is not None
    return run


def test_a_run_directory_holds_everything(trained: Path) -> None:
    assert [name for name in FILES if not (trained / name).is_file()] == []
    assert len(list((trained / "overlays").glob("*.png"))) == 2
    for picture in trained.rglob("*.png"):
        assert np.asarray(Image.open(picture)).std() > 5, picture


def test_the_manifest_says_what_was_done(trained: Path) -> None:
    manifest = json.loads((trained / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["error"] is None
    assert manifest["seed"] == 0
    assert manifest["duration_s"] > 0
    assert manifest["looks"] == {"test": 1}
    assert set(manifest["data"]) == {"train", "val", "test"}
    assert all(len(digest) == 64 for digest in manifest["data"].values())
    assert manifest["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert manifest["hardware"]["cores"] >= 1
    assert set(manifest["git"]) == {"commit", "dirty"}


def test_scores_follow_from_the_confusion_matrix(trained: Path) -> None:
    scores = json.loads((trained / "metrics.json").read_text())
    for split in ("val", "test"):
        matrix = np.array(scores[split]["confusion"])
        hits = np.diag(matrix)
        iou = hits / (matrix.sum(0) + matrix.sum(1) - hits)
        assert scores[split]["mIoU"] == pytest.approx(iou.mean())
        assert scores[split]["pixel_accuracy"] == pytest.approx(hits.sum() / matrix.sum())
        assert scores[split]["absent"] == []


def test_one_line_an_epoch(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    for key in ("step", "time_s", "lr", "train/loss", "train/images_per_s", "val/loss", "val/mIoU", "val/IoU/disc"):
        assert all(isinstance(line[key], int | float) for line in lines), key


def test_the_saved_model_is_the_best_checkpoint_with_its_averaged_weights(trained: Path) -> None:
    best, state = (newest(trained, kind) for kind in ("best", "state"))
    saved = load_file(trained / "model" / "model.safetensors")
    averaged = {name.removeprefix("model."): w for name, w in best["state_dict"].items() if name.startswith("model.")}
    assert saved.keys() == averaged.keys()
    assert all(torch.equal(saved[name], averaged[name]) for name in saved)
    raw = {name.removeprefix("model."): w for name, w in state["current_model_state"].items()}
    assert any(not torch.equal(saved[name], raw[name]) for name in saved)


def test_the_resolved_config_and_the_overrides_are_kept(trained: Path) -> None:
    config = OmegaConf.load(trained / "config.yaml")
    assert config.model.width == 4
    assert "${" not in (trained / "config.yaml").read_text()
    assert "model.width=4" in OmegaConf.load(trained / "overrides.yaml")


def test_shapes_scores_the_trained_model(trained: Path, warm_shell: WarmShell) -> None:
    output = warm_shell.run("shapes", [f"run={trained}", "size=[64,64]", "measured=0", "output=out"])
    assert "checkerboard, trained:" in output
    tables = (warm_shell.directory / "out" / "shapes").rglob("shapes.csv")
    assert "encoder.0,64,64,4," in next(tables).read_text()
    refused = warm_shell.run("shapes", [f"run={trained}", "model=unet"], code=2)
    assert "brings its own" in refused


def test_evaluate_repeats_the_score_and_counts_the_look(trained: Path, warm_shell: WarmShell) -> None:
    warm_shell.run("evaluate", [f"run={trained}", "split=test"])
    again = json.loads((trained / "evaluation_test.json").read_text())["test"]
    first = json.loads((trained / "metrics.json").read_text())["test"]
    assert again["confusion"] == first["confusion"]
    assert json.loads((trained / "manifest.json").read_text())["looks"] == {"test": 2}


def test_evaluate_refuses_changed_data(trained: Path, warm_shell: WarmShell) -> None:
    manifest = trained / "manifest.json"
    kept = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(kept) | {"data": {"val": "0" * 64}}))
    assert "has changed since it was trained" in warm_shell.run("evaluate", [f"run={trained}", "split=val"], code=1)
    warm_shell.run("evaluate", [f"run={trained}", "split=val", "data.allow_changed=true"])
    manifest.write_text(kept)


def test_evaluate_names_what_is_no_run(warm_shell: WarmShell) -> None:
    output = warm_shell.run("evaluate", ["run=nowhere"], code=1)
    assert "'nowhere' does not exist: give a run directory" in output
    assert "Traceback" not in output


def test_a_failed_job_does_not_stop_the_sweep(tiny: list[str], warm_shell: WarmShell) -> None:
    output = warm_shell.run("train", ["-m", *tiny, "scheduler=cosine", "scheduler.warmup_steps=0,10000"], code=1)
    assert "1 of the sweep's runs did not finish" in output
    (sweep,) = (warm_shell.directory / "runs" / "sweeps").iterdir()
    names = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert names == ["0_scheduler.warmup_steps-0", "1_scheduler.warmup_steps-10000"]
    with (sweep / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished", "failed"]
    assert "only 4 optimiser steps" in rows[1]["error"]
    page = (sweep / "report.html").read_text()
    assert "only 4 optimiser steps" in page
    assert (sweep / "leaderboard.md").is_file()


def test_the_defining_command_makes_four_runs_and_one_report(tiny: list[str], shell: Shell) -> None:
    output = shell.run("train", ["-m", "decoder=transposed,bilinear", "loss=ce,dice", *tiny])
    (sweep,) = (shell.directory / "runs" / "sweeps").iterdir()
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == [
        "0_decoder-transposed_loss-ce",
        "1_decoder-transposed_loss-dice",
        "2_decoder-bilinear_loss-ce",
        "3_decoder-bilinear_loss-dice",
    ]
    assert f"report: {sweep / 'report.html'}" in output
    manifests = [
        json.loads((sweep / name / "manifest.json").read_text()) for name in sorted(p.name for p in sweep.glob("*_*"))
    ]
    assert {manifest["sweep"] for manifest in manifests} == {sweep.name}
    assert [manifest["job"] for manifest in manifests] == [0, 1, 2, 3]
    assert not any("=" in path.name for path in sweep.rglob("*"))


def test_a_fault_in_the_arguments_of_any_job_stops_before_the_first(tiny: list[str], warm_shell: WarmShell) -> None:
    output = warm_shell.run("train", ["-m", *tiny, "loss=ce,dice", "loss._target_=perpixel.losses.Focal"], code=2)
    assert "Focal has no such argument" in output
    assert not (warm_shell.directory / "runs").exists()


def test_a_run_directory_is_never_used_twice(trained: Path, tiny: list[str]) -> None:
    scores = (trained / "metrics.json").read_text()
    with pytest.raises(ValueError, match="holds a run already"):
        perpixel.train([*tiny, f"hydra.run.dir={trained}"])
    assert (trained / "metrics.json").read_text() == scores
    assert json.loads((trained / "manifest.json").read_text())["status"] == "finished"


def test_wandb_offline_keeps_one_run_per_job_grouped_by_sweep(tiny: list[str], warm_shell: WarmShell) -> None:
    pytest.importorskip("wandb")
    warm_shell.run("train", ["-m", *tiny, "logger=wandb", "seed=1,2"])
    (sweep,) = (warm_shell.directory / "runs" / "sweeps").iterdir()
    assert len(list(sweep.glob("*/wandb/offline-run-*"))) == 2


def test_tensorboard_writes_events(tiny: list[str], warm_shell: WarmShell) -> None:
    pytest.importorskip("tensorboard")
    warm_shell.run("train", [*tiny, "logger=tensorboard", "hydra.run.dir=run"])
    assert list((warm_shell.directory / "run").rglob("events.out.tfevents.*"))
