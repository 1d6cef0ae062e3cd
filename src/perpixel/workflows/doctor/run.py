"""All checks, in the order they are printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from perpixel.config.paths import conf_dir
from perpixel.workflows.doctor import machine, packages, places
from perpixel.workflows.doctor.finding import Finding


def diagnose(output: Path, data: Path | None, deep: bool) -> Iterator[Finding]:
    """Look at environment, machine and places; each finding comes as soon as it is made.

    Args:
        output: where runs go.
        data: a folder of images; None looks at none.
        deep: import torch, OpenCV and the tracking services, each in a process of its own (some seconds each). Without,
            only torch is, where an NVIDIA card is found.
    """
    installed = packages.installed_version
    root = conf_dir().parent
    is_checkout = (root / "pyproject.toml").is_file()
    yield packages.is_installed(installed)
    if is_checkout or installed("perpixel") is not None:
        python, requirements = packages.asked_for(root if is_checkout else None)
        yield packages.python_version(python)
        yield from packages.required(requirements, installed)
        yield from packages.extras(requirements, installed)
    matching = packages.torch_and_torchvision(installed)
    yield from [matching] if matching is not None else []
    yield packages.one_cv2(installed)
    yield from packages.loggers()
    yield from packages.launchers(which("sbatch") is not None)
    yield machine.cores()
    shared = machine.shared_memory(machine.shared_size())
    yield from [shared] if shared is not None else []
    yield from machine.graphics(machine.has_nvidia(), deep)
    if deep:
        services = {name: f"pip install --force-reinstall {name}" for name in _services(installed)}
        yield from machine.imports({"cv2": "pip install --force-reinstall opencv-python-headless", **services})
    yield from places.output(output)
    yield from places.caches(os.environ)
    if data is not None:
        yield places.data(data)


def _services(installed: packages.Installed) -> list[str]:
    return [name for name in packages.SERVICES if installed(name) is not None]
