"""What a run was: command, seed, versions, code, data and machine, written at its start and completed at its end."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from perpixel.tracking.code import code_digest
from perpixel.tracking.files import locked, write_atomically

MANIFEST = "manifest.json"
COMMAND = list(sys.argv)
"""As typed: what perpixel itself adds for Hydra later is not part of it."""

_BEGAN: dict[Path, float] = {}
"""When the runs of this process would have begun, had they never been interrupted (``perf_counter``)."""

PACKAGES = (
    "perpixel",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "albumentations",
    "segmentation-models-pytorch",
    "timm",
    "numpy",
    "opencv-python-headless",
)


def read(run: Path) -> dict[str, Any]:
    """The manifest of a run directory, empty where there is none yet.

    Raises:
        ValueError: what stands there is no manifest.
    """
    path = run / MANIFEST
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(found, dict):
        raise _damaged(path, f"a {type(found).__name__} instead of names with values")
    return found


def _damaged(path: Path, fault: str) -> ValueError:
    return ValueError(
        f"'{path}' is damaged ({fault}). Put it back from a copy; or remove it: resume={path.parent} then goes on and "
        f"writes it anew, without what only it knew (when the run began, the hashes of its data, looks at test)."
    )


def update(run: Path, **facts: Any) -> None:
    """Add or replace facts of a run's manifest, atomically."""
    with locked(run):
        write_atomically(run / MANIFEST, json.dumps(read(run) | facts, indent=2) + "\n")


def count_look(run: Path, split: str) -> int:
    """Count one more evaluation on a split; returns how often it has now been looked at."""
    with locked(run):
        looks = read(run).get("looks", {})
        looks[split] = looks.get(split, 0) + 1
        write_atomically(run / MANIFEST, json.dumps(read(run) | {"looks": looks}, indent=2) + "\n")
    return int(looks[split])


@contextmanager
def recording(run: Path, went_on: Callable[[], bool] = lambda: True, **facts: Any) -> Iterator[None]:
    """Keep a run's manifest true: running inside the block, after it finished, interrupted (it can go on) or failed
    (with the error). A run that goes on keeps the time it was started, and its durations add up. A finished one stays
    finished where it ends before it has got any further.

    Args:
        run: the run directory.
        went_on: whether a run that was resumed has got further than it was.
        facts: what the caller knows: name, job, sweep, seed.
    """
    before = read(run)
    spent = before.get("duration_s") or 0.0
    began = _BEGAN[run] = time.perf_counter() - spent
    facts |= {
        "status": "running",
        "error": None,
        "command": COMMAND,
        "started": before.get("started", now()),
        "finished": None,
        "duration_s": spent or None,
        "versions": _versions(),
        "git": _git(),
        "code": code_digest(),
        "hardware": _hardware(),
    }
    try:
        update(run, **facts)
        (run / "error.txt").unlink(missing_ok=True)  # of the attempt before
        yield
    except BaseException as error:
        if status := getattr(error, "run_status", None):  # an end that is no failure
            _close(run, began, status=status, error=_describe(error))
        elif before.get("status") == "finished" and not went_on():
            with suppress(OSError, ValueError):
                _put_back(run, before)
        else:
            _close_broken(run, began, error)
        raise
    _close(run, began, status="finished", error=None)


def _put_back(run: Path, before: dict[str, Any]) -> None:
    """All but the looks at test, which were taken."""
    with locked(run):
        looks = read(run).get("looks", before.get("looks", {}))
        write_atomically(run / MANIFEST, json.dumps(before | {"looks": looks}, indent=2) + "\n")


def _close_broken(run: Path, began: float, error: BaseException) -> None:
    if isinstance(error, SystemExit | KeyboardInterrupt):
        if read(run):  # else it was stopped before there was one
            _close(run, began, status="interrupted", error=f"{_describe(error)}; go on with resume={run}")
    else:
        with suppress(OSError, ValueError):  # a full disk is reported as itself, not as what could not be written
            _fail(run, began, _describe(error))
            write_atomically(run / "error.txt", traceback.format_exc())


def add_time(run: Path) -> None:
    """Keep what a run has taken so far, in case its process is killed."""
    if run in _BEGAN:
        update(run, duration_s=round(time.perf_counter() - _BEGAN[run], 3))


def _fail(run: Path, began: float, error: str) -> None:
    """Where the disk has no room for a new manifest, the old one is written over: it must not say *running*."""
    try:
        _close(run, began, status="failed", error=error)
    except OSError:
        path = run / MANIFEST
        facts, room = read(run) | {"status": "failed", "finished": now()}, path.stat().st_size
        for told in (error, error[:200], None):
            text = json.dumps(facts | {"error": told}).encode()  # without its line breaks it is much shorter
            if len(text) <= room:
                with path.open("r+b") as file:
                    file.write(text.ljust(room))
                    os.fsync(file.fileno())
                return
        raise


def _close(run: Path, began: float, **facts: Any) -> None:
    update(run, **facts, finished=now(), duration_s=round(time.perf_counter() - began, 3))


def _describe(error: BaseException) -> str:
    text = str(error) or "no message"
    return text if isinstance(error, SystemExit) else f"{type(error).__name__}: {text}"


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any]:
    """Commit and dirtiness of the checkout that perpixel runs from; None where it is not one."""
    here = Path(__file__).resolve().parent
    commit = _output("git", "-C", str(here), "rev-parse", "HEAD")
    dirty = (
        None
        if commit is None
        else bool(_output("git", "-c", "core.fsmonitor=false", "-C", str(here), "status", "--porcelain", "-uno"))
    )
    return {"commit": commit, "dirty": dirty}


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware() -> dict[str, Any]:
    facts: dict[str, Any] = {"machine": platform.machine(), "system": platform.platform(), "cores": os.cpu_count()}
    facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if torch := sys.modules.get("torch"):  # never imported for the sake of the manifest
        facts["threads"] = torch.get_num_threads()
        facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return facts
