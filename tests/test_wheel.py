"""What a user installs: the wheel brings its configs, and its command does what the checkout's script does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``perpixel`` in a new environment: the wheel is installed; its dependencies are lent by path, as they take 6 GB.

    A path file lends modules only: an editable perpixel of the lender is not seen.
    """
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python*/site-packages")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "perpixel"


@pytest.mark.slow
def test_the_wheel_holds_every_config(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"perpixel/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert configs <= names
    assert "perpixel/py.typed" in names
    assert not any(name.startswith(("tests", "conf", "experiments")) for name in names)


@pytest.mark.slow
def test_the_installed_command_equals_the_script(command: Path, tiny: list[str], tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    starts = {"wheel": [str(command), "train"], "script": [sys.executable, str(ROOT / "src" / "train.py")]}
    for name, start in starts.items():
        done = subprocess.run(
            [*start, *tiny, f"hydra.run.dir={tmp_path / name}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    installed, script = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("wheel", "script"))
    assert installed == script
    shown = [str(command), "train", "--cfg", "job"]
    log = subprocess.run(shown, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "decoder:" in log.stdout
