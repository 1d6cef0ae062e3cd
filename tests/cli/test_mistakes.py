"""Mistakes on the command line are answered before torch is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from perpixel.config import compose, conf_dir
from perpixel.config.help import FIRST, cfg_groups, help_text
from perpixel.config.schema import SCHEMAS
from tests.commands import ROOT, environment

PROBE = """
import sys
from perpixel.cli import main
try:
    main()
except SystemExit as stop:
    print("exit", stop.code if isinstance(stop.code, int) else 1)
print("torch" in sys.modules or "lightning" in sys.modules)
"""


def probe(directory: Path, *arguments: str) -> tuple[str, list[str]]:
    """(standard error, lines of standard output) of a command; the last line tells whether torch was imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=directory,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("loss=dise", "Did you mean 'dice'?"),
        ("optimzer.lr=0.1", "Did you mean 'optimizer.lr'?"),
        ("optimizer.lr=abc", "optimizer.lr=abc"),
        ("loss._target_=os.system", "PERPIXEL_PLUGINS"),
    ],
)
def test_mistakes_need_no_torch_and_exit_with_2(override: str, told: str, tmp_path: Path) -> None:
    error, lines = probe(tmp_path, "train", override)
    assert told in error
    assert "Traceback" not in error
    assert lines[-2:] == ["exit 2", "False"]
    assert list(tmp_path.iterdir()) == []


def test_an_audit_takes_an_experiment_and_refuses_what_it_does_not_use(tmp_path: Path) -> None:
    cfg = compose(["experiment=bottleneck"], "audit").cfg
    assert cfg.data.source._target_ == "perpixel_scenes.Scenes"
    error, lines = probe(tmp_path, "audit", "experiment=bottleneck", "model=fpn")
    assert "model=fpn: an audit looks at data= and augment=" in error
    assert lines[-2:] == ["exit 2", "False"]


def test_help_needs_no_torch(tmp_path: Path) -> None:
    _, lines = probe(tmp_path, "train", "--help")
    assert lines[-1] == "False"
    text = "\n".join(lines)
    assert "decoder: bilinear" in text
    assert "max_epochs: null" in text


def test_help_of_a_choice_explains_its_keys_though_values_are_missing(tmp_path: Path) -> None:
    _, lines = probe(tmp_path, "train", "data=folder", "--help")
    text = "\n".join(lines)
    assert "root: ???" in text
    assert re.search(r"image_key: \(\.\+\) +# what an image and its mask share", text)
    assert "allow_changed: false" in text, "typed keys that the YAML leaves out"
    assert "optimizer" not in text.partition("==")[2]
    assert lines[-2:] == ["exit 0", "False"]


@pytest.mark.parametrize("most", [1, pytest.param(None, marks=pytest.mark.slow)], ids=["first of a group", "all"])
def test_help_of_every_choice_of_every_verb_is_printed(most: int | None) -> None:
    for verb in SCHEMAS:
        for group in cfg_groups(verb):
            for file in sorted((conf_dir() / group).glob("*.yaml"))[:most]:
                job = compose([f"{group}={file.stem}"], verb, partial=True)
                text = help_text(verb, job.cfg, job.choices, [group], [conf_dir()])
                assert f"== {group}={file.stem} ==" in text


def test_the_keys_that_matter_first_exist() -> None:
    for verb, keys in FIRST.items():
        cfg = compose([], verb).cfg
        for key in keys:
            OmegaConf.select(cfg, key, throw_on_missing=True)
            parent, _, last = key.rpartition(".")
            assert last in (OmegaConf.select(cfg, parent) if parent else cfg)


def test_a_fault_in_a_later_job_stops_the_sweep_before_the_first(tmp_path: Path) -> None:
    error, lines = probe(tmp_path, "train", "-m", "loss=ce,dise", "trainer.max_epochs=1")
    assert "loss=dise" in error
    assert lines[-2:] == ["exit 2", "False"]
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import perpixel, sys; print('torch' in sys.modules, 'hydra' in sys.modules)"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


def test_an_unknown_verb_is_named(tmp_path: Path) -> None:
    _error, lines = probe(tmp_path, "trian")
    assert lines[-2] == "exit 1"
    assert "usage: perpixel {init,train" in lines[0]
