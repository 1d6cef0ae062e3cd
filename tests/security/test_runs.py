"""A run directory somebody sent: its config, checkpoints, ledger, links and names do no harm when it is used."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import perpixel
from perpixel.cli.evaluate import evaluate
from perpixel.config import ConfigError, compose
from perpixel.reporting.report import write_report
from perpixel.tracking.runs import load_run
from perpixel.workflows.job import resume_job
from tests.conftest import CLASSES
from tests.security.test_files import LAUGHS, Payload


@pytest.fixture(scope="module")
def trained(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a second."""
    run = tmp_path_factory.mktemp("trained") / "run"
    perpixel.train(
        [
            *("data=folder", f"data.source.root={tiny_root}", f"data.source.classes=[{','.join(CLASSES)}]"),
            *("data.size=[32,32]", "data.batch_size=4", "data.num_workers=0", "training.overlays=0"),
            *("model=starter_unet", "model.width=4", "model.convs_per_block=1", "trainer.max_epochs=1"),
            *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", f"hydra.run.dir={run}"),
        ]
    )
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to plant things in."""
    return Path(shutil.copytree(trained, tmp_path / "run", symlinks=True))


def score(run: Path) -> None:
    evaluate(compose([f"run={run}", "split=val"], verb="evaluate").cfg)


def go_on(run: Path) -> None:
    resume_job(run, ["trainer.max_epochs=2"])()


USES: dict[str, Callable[[Path], None]] = {"evaluate": score, "resume": go_on}

NODES: dict[str, Any] = {
    "loss._target_": "os.system",
    "model._target_": "perpixel.config.objects.os.system",
    "model.width": {"_target_": "subprocess.Popen", "args": "touch SENTINEL"},
    "logger": {"_target_": "perpixel.tracking.loggers.Csv", "more": {"_target_": "shutil.copyfile"}},
    "data.source.classes": [{"_target_": "builtins.exec", "source": "open('SENTINEL', 'w')"}],
    "augment.steps": [{"_target_": "albumentations.Lambda", "image": {"_target_": "os.system"}}],
    "scheduler._target_": "torch.hub.load",
    "optimizer._target_": "torch.utils.cpp_extension.load_inline",
    "extra": {"_target_": "os.system", "command": "touch SENTINEL"},
    "data.source.root": "${oc.env:HOME}",
    "output": "${oc.decode:${oc.env:HOME}}",
    "seed": "${oc.create:{_target_:os.system}}",
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("node", NODES)
def test_a_planted_config_is_refused(node: str, use: str, run: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    config = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    holder = config
    *parents, last = node.split(".")
    for parent in parents:
        holder = holder[parent]
    holder[last] = json.loads(json.dumps(NODES[node]).replace("SENTINEL", str(sentinel)))
    (run / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    with pytest.raises(ConfigError):
        USES[use](run)
    assert not sentinel.exists()


@pytest.mark.parametrize("use", USES)
def test_planted_checkpoints_do_not_run(use: str, run: Path, tmp_path: Path) -> None:
    """With sums to match, as whoever plants them would write."""
    sentinel = tmp_path / "sentinel"
    content = pickle.dumps({"state_dict": Payload(sentinel)}, protocol=2)
    ledger = json.loads((run / "checkpoints" / "checkpoints.json").read_text())
    for entry in ledger:
        (run / "checkpoints" / entry["file"]).write_bytes(content)
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (run / "checkpoints" / "checkpoints.json").write_text(json.dumps(ledger))
    shutil.rmtree(run / "model")  # else evaluate reads no checkpoint at all
    with pytest.raises(Exception, match=r"[Ww]eights"):
        USES[use](run)
    assert not sentinel.exists()


def test_a_planted_ledger_deletes_nothing_elsewhere(run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.ckpt"
    precious.write_text("precious")
    path = run / "checkpoints" / "checkpoints.json"
    ledger = json.loads(path.read_text())
    path.write_text(json.dumps([{**ledger[0], "file": "../../precious.ckpt"}] * 5 + ledger))
    go_on(run)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", [".lock", "manifest.json", "train.log", "evaluation_val.json", "checkpoints"])
def test_links_out_of_a_run_are_refused(name: str, use: str, run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    if (run / name).is_dir():
        shutil.move(run / name, victim)
    else:
        (run / name).unlink(missing_ok=True)
        victim.write_text("mine")
    (run / name).symlink_to(os.path.relpath(victim, run))
    with pytest.raises(ValueError, match="leads out of the run directory"):
        USES[use](run)
    assert victim.is_dir() or victim.read_text() == "mine"


def test_links_within_a_run_are_fine(run: Path) -> None:
    (run / "wandb").mkdir()
    (run / "wandb" / "latest-run").symlink_to("../model")
    score(run)


SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"\"'>{SCRIPT}<img src=x onerror=alert(1)>"


def test_names_in_a_report_are_text(run: Path) -> None:
    """Class names, run names, errors, overrides and values of a stranger's run."""
    for name, keys in {"manifest.json": ("name", "error"), "metrics.json": ()}.items():
        content = json.loads((run / name).read_text())
        content |= dict.fromkeys(keys, HOSTILE)
        if name == "metrics.json":
            content["classes"] = [HOSTILE + str(index) for index in range(len(content["classes"]))]
        (run / name).write_text(json.dumps(content))
    (run / "overrides.yaml").write_text(json.dumps([f"loss={HOSTILE}"]))
    config = OmegaConf.load(run / "config.yaml")
    config.output = HOSTILE
    OmegaConf.save(config, run / "config.yaml")
    page = write_report(run).read_text()
    assert "alert(1)" in page
    assert SCRIPT not in page
    assert "<img src=x" not in page
    assert "default-src 'none'" in page


def test_names_in_an_audit_are_text(tiny_root: Path, tmp_path: Path) -> None:
    from perpixel.augment import Recipe
    from perpixel.config import build
    from perpixel.data import Folder
    from perpixel.data.audit import write_audit

    source = Folder(str(tiny_root), classes=[HOSTILE, "square", "disc"])
    job = compose(["augment=none"])
    recipe = build(job.cfg.augment, Recipe, size=[32, 32], fill=source.labels.fill)
    write_audit(source, recipe, tmp_path, workers=0, progress=False)
    page = (tmp_path / "audit.html").read_text()
    assert "alert(1)" in page
    assert SCRIPT not in page
    assert "<img src=x" not in page


def test_secrets_stay_out_of_what_is_saved(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "very-secret-value")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ConfigError, match="secret"):
        compose([*tiny, "output=${oc.env:WANDB_API_KEY}"])
    result = perpixel.train([*tiny, "data.limit=4", "training.overlays=0"])
    kept = [path for path in result.directory.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"very-secret-value" in path.read_bytes()]


@pytest.mark.parametrize("name", ["overrides.yaml", "config.yaml"])
def test_aliases_of_a_run_are_not_written_out(name: str, run: Path) -> None:
    """A report is drawn of whatever lies there; nine nested lists of nine would be a billion values."""
    (run / name).write_text(LAUGHS)
    assert not load_run(run).overrides or name == "config.yaml"
    assert not load_run(run).config or name == "overrides.yaml"
    (run / name).write_text(f"[{'a, ' * (1 << 19)}a]")
    assert len(load_run(run).overrides) < 100
    write_report(run)


def test_deep_json_in_a_run_is_no_crash(run: Path) -> None:
    (run / "metrics.json").write_text("[" * 100_000)
    write_report(run)
