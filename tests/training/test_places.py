"""Run directories that cannot be had: another process has them, or they may not be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import ROOT, Shell, environment
from tests.skips import skip_or_fail

RACE = """
import os, sys, time
from pathlib import Path
import perpixel.workflows.job
from perpixel.cli.train import main

Path(f"ready-{os.getpid()}").touch()
end = time.monotonic() + 120
while len(list(Path().glob("ready-*"))) < 2 and time.monotonic() < end:
    time.sleep(0.001)
main()
"""
CAPABILITIES = "-dac_override,-dac_read_search"


@pytest.mark.slow
def test_of_two_processes_that_start_at_one_instant_one_trains(tiny: list[str], shell: Shell) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, *tiny, "trainer.max_epochs=20", "hydra.run.dir=run"],
            cwd=shell.directory,
            env=environment() | {"PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = {process.communicate(timeout=200)[0]: process.returncode for process in both}
    assert sorted(outputs.values()) == [0, 1], outputs
    (refused,) = (output for output, code in outputs.items() if code)
    assert "is in use by" in refused or "holds a run already" in refused
    assert len((shell.directory / "run" / "metrics.jsonl").read_text().splitlines()) == 20


def test_a_directory_without_permission_is_named(tiny: list[str], tmp_path: Path) -> None:
    """Root, too, minds permissions once it has given up the capabilities to pass over them."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() == 0 and setpriv is None:
        skip_or_fail("setpriv is missing: apt-get install util-linux")
    mindful = [setpriv or "", f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}"]
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = subprocess.run(
        [
            *(mindful if os.geteuid() == 0 else ()),
            *(sys.executable, str(ROOT / "src" / "train.py"), *tiny, f"hydra.run.dir={locked / 'run'}"),
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert f"'{locked / 'run'}' cannot be written to: Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_skipped_silently_in_continuous_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="slurm is missing"):
        skip_or_fail("slurm is missing")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception):
        skip_or_fail("slurm is missing")
