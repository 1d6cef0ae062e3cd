"""Hostile nodes for Hydra itself, on the command line of every verb: refused, and nothing of them runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import ROOT, environment

VERBS = ("train", "evaluate", "audit", "shapes", "export", "report", "doctor")
TOUCH = "{_target_: pathlib.Path.touch, _args_: [{_target_: pathlib.Path, _args_: [SENTINEL]}]}"
FACTORY = "{evil: {'()': 'ext://os.mkdir', path: SENTINEL}}"
PLANTED = {
    "job_logging": f"version: 1\nroot: {{handlers: []}}\nfilters: {FACTORY}\n",
    "hydra_logging": f"version: 1\nroot: {{handlers: []}}\nhandlers: {FACTORY}\n",
}
"""Config groups of a directory that somebody sent; Hydra configures logging with them, also for its help."""

WAYS: dict[str, list[str]] = {
    "callbacks": [f"+hydra.callbacks.evil={TOUCH}"],
    "launcher": [f"hydra.launcher={TOUCH}"],
    "sweeper": [f"hydra.sweeper={TOUCH}"],
    "job_logging": ["--config-dir", "sent", "hydra/job_logging=evil"],
    "hydra_logging": ["--config-dir", "sent", "hydra/hydra_logging=evil"],
}


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """Beside it, the directory that was sent."""
    for group, text in PLANTED.items():
        directory = tmp_path / "sent" / "hydra" / group
        directory.mkdir(parents=True)
        (directory / "evil.yaml").write_text(text.replace("SENTINEL", str(tmp_path / "sentinel")))
    return tmp_path / "sentinel"


def command(verb: str, arguments: Sequence[str], sentinel: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    script = f"{before}\nfrom perpixel.cli.{verb} import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", script, *(one.replace("SENTINEL", str(sentinel)) for one in arguments)],
        cwd=sentinel.parent,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("flag", ["--help", "--hydra-help"])
@pytest.mark.parametrize("way", WAYS)
def test_who_asks_for_help_runs_nothing_hostile(way: str, flag: str, sentinel: Path) -> None:
    refused_everywhere(["evaluate"], way, [flag], sentinel)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--help"], ["--hydra-help"], ["--cfg", "job"], ["--info", "config"]], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_every_verb_refuses(way: str, flags: list[str], sentinel: Path) -> None:
    refused_everywhere(VERBS, way, flags, sentinel)


def refused_everywhere(verbs: Sequence[str], way: str, flags: Sequence[str], sentinel: Path) -> None:
    for verb in verbs:
        needed = {"evaluate": ["run=."], "export": ["run=."], "report": ["runs=."]}.get(verb, [])
        run = [] if {"--help", "--hydra-help"} & {*flags} else needed
        done = command(verb, [*flags, *WAYS[way], *run], sentinel)
        assert done.returncode == 2, (verb, done.stdout, done.stderr)
        assert f"hydra.{way}" in done.stderr
        assert not sentinel.exists()


def test_a_payload_does_run_where_nobody_guards(sentinel: Path) -> None:
    unguarded = "from perpixel.config import guard\nguard.check_hydra = lambda hydra: []"
    command("evaluate", ["--hydra-help", *WAYS["hydra_logging"]], sentinel, unguarded)
    assert sentinel.exists()


def test_help_needs_no_run(sentinel: Path) -> None:
    done = command("evaluate", ["--help"], sentinel)
    assert done.returncode == 0, done.stderr
    assert "run=" in done.stdout
