"""A real Slurm of one node, brought up for the tests that need it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.skips import skip_or_fail

SCRIPT = Path(__file__).with_name("cluster.sh")
TURN = Path(tempfile.gettempdir()) / "perpixel-tests-slurm.lock"
NEEDED = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")


def lacking() -> str | None:
    """Why there can be no cluster here; None where there can."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if missing:
        return f"{', '.join(missing)} are missing: apt-get install slurm-wlm munge"
    if importlib.util.find_spec("submitit") is None:
        return "submitit is missing: pip install 'perpixel[slurm]'"
    return None if os.geteuid() == 0 else "the daemons want root"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Slurm's commands work while it is up. Its ports are fixed, so processes that test side by side take turns."""
    if reason := lacking():
        skip_or_fail(reason)
    home = tmp_path_factory.mktemp("slurm")
    with TURN.open("w") as turn, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(turn, fcntl.LOCK_EX)  # the kernel lets go of it when the process ends
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
        with (home / "up.out").open("w+") as out:  # a file: daemons would keep a pipe open
            done = subprocess.run([SCRIPT, "up", home], stdout=out, stderr=subprocess.STDOUT, timeout=120, check=False)
        assert done.returncode == 0, (home / "up.out").read_text()
        patch.setenv("SLURM_CONF", str(home / "slurm.conf"))
        yield
        subprocess.run([SCRIPT, "down", home], timeout=60, check=True)
