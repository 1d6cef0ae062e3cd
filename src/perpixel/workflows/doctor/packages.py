"""Installed packages against what perpixel asks for, from their metadata alone: nothing is imported."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from perpixel.workflows.doctor.finding import Finding, Level

Installed = Callable[[str], Version | None]

CV2 = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that bring the same folder, ``cv2``, and overwrite each other's files."""

SERVICES = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard"}
"""Choices of ``logger``, by the module that each needs; each is also the name of its extra."""

_EXTRA = re.compile(r"extra == [\"']([^\"']+)[\"']")

LAUNCHERS = {"slurm": ("hydra_plugins.hydra_submitit_launcher", "submitit"), "optuna": ("optuna",)}
"""Extras that start or steer jobs, by the modules that each needs."""


def installed_version(name: str) -> Version | None:
    """Of a distribution; None where it is not installed."""
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def asked_for(checkout: Path | None) -> tuple[str, list[Requirement]]:
    """The Python versions and packages that perpixel asks for, extras by their markers.

    Args:
        checkout: a folder with ``pyproject.toml``, which is newer than what was recorded at installation; None reads
            the installed metadata.
    """
    if checkout is not None:
        project: dict[str, Any] = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found = [Requirement(text) for text in project["dependencies"]]
        for extra, texts in project["optional-dependencies"].items():
            found += [of_extra(Requirement(text), extra) for text in texts]
        return project["requires-python"], found
    described = metadata.metadata("perpixel")
    return described["Requires-Python"] or "", [Requirement(text) for text in metadata.requires("perpixel") or ()]


def of_extra(requirement: Requirement, extra: str) -> Requirement:
    """The requirement with the marker that metadata would give it."""
    before = f"({requirement.marker}) and " if requirement.marker else ""
    bare = str(requirement).partition(";")[0]
    return Requirement(f"{bare}; {before}extra == '{extra}'")


def python_version(specifier: str, version: str = platform.python_version()) -> Finding:
    """This Python against ``requires-python``."""
    if SpecifierSet(specifier).contains(version, prereleases=True):
        return Finding(Level.OK, "python", version)
    return Finding(
        Level.FAULT, "python", f"{version}, and perpixel needs {specifier}", "make an environment of a newer Python"
    )


def required(requirements: Sequence[Requirement], installed: Installed) -> Iterator[Finding]:
    """Packages that perpixel cannot do without: those missing, and those of another version."""
    needed = [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [_wrong(one, installed) for one in needed]
    yield from (found for found in wrong if found is not None)
    if not any(wrong):
        yield Finding(Level.OK, "packages", f"{len(needed)} required ones, all of versions that fit")


def _wrong(requirement: Requirement, installed: Installed) -> Finding | None:
    found, fix = installed(requirement.name), f'pip install "{requirement.name}{requirement.specifier}"'
    if found is None:
        return Finding(Level.FAULT, requirement.name, f"not installed; needed: {requirement.specifier or 'any'}", fix)
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding(Level.FAULT, requirement.name, f"{found}, and perpixel needs {requirement.specifier}", fix)
    return None


def extras(requirements: Sequence[Requirement], installed: Installed) -> Iterator[Finding]:
    """Packages of extras that are installed in versions that do not fit, and which extras are whole."""
    members: dict[str, list[Requirement]] = {}
    for one in requirements:
        for extra in _extras_of(one):
            members.setdefault(extra, []).append(one)
    whole = []
    for extra, needed in sorted(members.items()):
        wrong = [found for one in needed if (found := _wrong(one, installed)) is not None]
        if not wrong:
            whole.append(extra)
        for found in wrong:
            if installed(found.about) is not None:
                yield Finding(Level.WARNING, found.about, f"{found.says} for the extra '{extra}'", found.fix)
    if whole:
        yield Finding(Level.OK, "extras", f"complete: {', '.join(whole)}")


def _extras_of(requirement: Requirement) -> list[str]:
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return []
    names = _EXTRA.findall(str(requirement.marker))
    return [name for name in names if requirement.marker.evaluate({"extra": name}) and name not in ("dev", "peers")]


def torch_and_torchvision(installed: Installed, pins: Mapping[str, str] | None = None) -> Finding | None:
    """torchvision's compiled operators work with one version of torch, which its metadata names.

    Args:
        installed: versions.
        pins: packages that torchvision asks for, by name; None reads its metadata.
    """
    torch, torchvision = installed("torch"), installed("torchvision")
    if torch is None or torchvision is None:
        return None  # told among the required packages
    if pins is None:
        known = [Requirement(text) for text in metadata.requires("torchvision") or ()]
        pins = {canonicalize_name(one.name): str(one.specifier) for one in known}
    pin = pins.get("torch", "")
    both = f"{torch} and {torchvision}"
    if not SpecifierSet(pin).contains(torch.public, prereleases=True):
        return Finding(
            Level.FAULT,
            "torch, torchvision",
            f"{both}, but this torchvision is made for torch{pin}: its operators will fail",
            f'pip install "torch{pin}" "torchvision=={torchvision.public}"',
        )
    if torch.local != torchvision.local:
        return Finding(
            Level.WARNING,
            "torch, torchvision",
            f"{both} come from different builds",
            "install both by one pip command, from one index",
        )
    return Finding(Level.OK, "torch, torchvision", f"{both} match")


def one_cv2(installed: Installed) -> Finding:
    """OpenCV comes in four distributions that write one folder."""
    found = [name for name in CV2 if installed(name) is not None]
    if len(found) > 1:
        names = " ".join(found)
        return Finding(
            Level.FAULT,
            "cv2",
            f"{len(found)} packages write the folder cv2 over each other: {', '.join(found)}",
            f"pip uninstall -y {names} && pip install opencv-python-headless",
        )
    version = installed(found[0]) if found else None
    if version is None:
        return Finding(Level.FAULT, "cv2", "no OpenCV is installed", "pip install opencv-python-headless")
    return Finding(Level.OK, "cv2", f"{found[0]} {version}, alone")


def loggers() -> Iterator[Finding]:
    """Which tracking services could be chosen; found, not imported."""
    there = [name for name, module in SERVICES.items() if find_spec(module) is not None]
    yield Finding(Level.OK, "loggers", ", ".join(["csv", *there]))
    for name in SERVICES:
        if name not in there:
            yield Finding(Level.NOTE, f"logger={name}", "not installed", f"pip install 'perpixel[{name}]'")


def launchers(on_cluster: bool) -> Iterator[Finding]:
    """Which launchers and sweepers could be chosen.

    Args:
        on_cluster: whether Slurm's commands are there.
    """
    for extra, modules in LAUNCHERS.items():
        missing = [module for module in modules if not _is_there(module)]
        about = "hydra/launcher=slurm" if extra == "slurm" else "hydra/sweeper=optuna"
        if not missing:
            yield Finding(Level.OK, about, "installed")
        else:
            level = Level.WARNING if extra == "slurm" and on_cluster else Level.NOTE
            told = "not installed" + (", and this machine has Slurm's sbatch" if level is Level.WARNING else "")
            yield Finding(level, about, told, f"pip install 'perpixel[{extra}]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def is_installed(installed: Installed) -> Finding:
    """A checkout alone works in this process; the workers of launchers import the package."""
    version = installed("perpixel")
    if version is not None:
        return Finding(Level.OK, "perpixel", str(version))
    return Finding(
        Level.WARNING,
        "perpixel",
        "runs from a checkout and is not installed: jobs on other machines or processes will not find it",
        "pip install -e .",
    )
