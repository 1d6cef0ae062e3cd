"""What a composed config may name, checked on the text of the config: nothing is imported, nothing instantiated."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from perpixel.config.environment import SETTABLE
from perpixel.config.errors import ConfigError
from perpixel.config.objects import PLUGINS, check_prefix

# Hydra instantiates these nodes by itself, so they are held to what Hydra, its installed plugins and we bring. The
# ending keeps aliases out: 'hydra.utils.os.system' lies in the right package, too.
HYDRA_PACKAGES = frozenset({"hydra", "hydra_plugins", "perpixel"})
HYDRA_KINDS = ("Launcher", "Sweeper", "Callback")
LOGGING_CLASSES = frozenset(
    {"logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter"}
)
# A log elsewhere could be a line of somebody's .bashrc: messages and their format are the config's, too.
LOG_FILE = re.compile(r"\$\{hydra\.(runtime\.output_dir|sweep\.dir|run\.dir)\}/(\$\{hydra\.job\.name\}|\w[\w.-]*)\.log")
JOB_NAME = re.compile(r"\w[\w.-]*")
SUBMITTED = "${hydra.sweep.dir}/.submitit/%j"  # where conf/hydra/launcher/slurm.yaml keeps its scripts
LAUNCHER_COMMANDS = frozenset({"setup", "srun_args", "python", "additional_parameters", "teardown"})
COMMANDS_ADMITTED = "PERPIXEL_LAUNCHER_COMMANDS"
LOGGING_STREAMS = frozenset({"ext://sys.stdout", "ext://sys.stderr"})


def check_job(cfg: Any) -> list[str]:
    """Faults of the job's own part: every ``_target_`` must lie in an admitted package."""
    found = []
    for where, target in _values(cfg, "_target_"):
        try:
            check_prefix(target, where)
        except ConfigError as error:
            found.append(str(error))
    return found


def check_hydra(hydra: Any) -> list[str]:
    """Faults of the ``hydra`` node: foreign targets, logging factories, imports by search path, protected variables."""
    if hidden := list(_hidden(hydra)):
        return hidden
    return [
        *(
            f"hydra.{where}._target_={target}: Hydra's own nodes may name only launchers, sweepers and callbacks "
            f"of Hydra, its plugins and perpixel."
            for where, target in _values(hydra, "_target_")
            if not (str(target).partition(".")[0] in HYDRA_PACKAGES | PLUGINS and str(target).endswith(HYDRA_KINDS))
        ),
        *_logging_faults(hydra),
        *_job_faults(hydra.get("job") or {}),
        *_launcher_faults(hydra.get("launcher") or {}),
        *(
            f"hydra.sweeper.params.{key}: a sweep's axes may not touch Hydra's own nodes or name classes."
            for key in (hydra.get("sweeper") or {}).get("params") or ()
            if "hydra" in str(key) or "_target_" in str(key)
        ),
        *(search_path_fault(entry) for entry in hydra.get("searchpath") or () if search_path_fault(entry)),
    ]


def _job_faults(job: Mapping[str, Any]) -> Iterator[str]:
    for name in job.get("env_set") or ():
        if name not in SETTABLE:
            yield (
                f"hydra.job.env_set.{name}: a config may not set this variable; set it in the shell. It may set "
                f"{', '.join(sorted(SETTABLE))}."
            )
    name = job.get("name")
    if name is not None and not JOB_NAME.fullmatch(str(name)):
        yield f"hydra.job.name={name}: it names files; use letters, digits and _.- only."


def _launcher_faults(launcher: Mapping[str, Any]) -> Iterator[str]:
    """A launcher's scripts hold commands and take its values as text: neither may come from a config."""
    for key in sorted(LAUNCHER_COMMANDS & launcher.keys()):
        if launcher[key] and os.environ.get(COMMANDS_ADMITTED) != "1":
            yield (
                f"hydra.launcher.{key}={launcher[key]}: the launcher would run this as a command. Jobs inherit the "
                f"shell that you submit from (load modules there); or admit commands with {COMMANDS_ADMITTED}=1 in it."
            )
    for where, value in strings(launcher):
        if not value.isprintable():
            yield f"hydra.launcher.{where}={value!r}: it becomes a line of a script; leave control characters out."


def _hidden(hydra: Mapping[str, Any]) -> Iterator[str]:
    """Interpolations where Hydra instantiates, imports or sets variables: they could hide what it is told to call."""
    for part in ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging", "searchpath"):
        if isinstance(hydra.get(part), str):
            yield f"hydra.{part}={hydra[part]}: write it out; an interpolation may not stand here."
        for where, value in strings(hydra.get(part)):
            is_log = where.endswith(".filename") and LOG_FILE.fullmatch(value)
            if "${" in value and not is_log and value != SUBMITTED:
                yield f"hydra.{part}.{where}={value}: write it out; an interpolation may not stand here."
    variables = (hydra.get("job") or {}).get("env_set")
    if isinstance(variables, str):
        yield f"hydra.job.env_set={variables}: write it out; an interpolation may not stand here."


def search_path_fault(entry: object) -> str:
    """A fault for a ``pkg://`` search path outside the admitted packages (Hydra imports the package), else empty."""
    package = str(entry).partition("pkg://")[2].partition(".")[0]
    if package and package not in {"perpixel", "hydra"} | PLUGINS:
        return (
            f"hydra.searchpath={entry}: Hydra would import package '{package}'; admit it with the environment variable "
            f"PERPIXEL_PLUGINS={package}, or give the directory as file://…"
        )
    return ""


def _logging_faults(hydra: Mapping[str, Any]) -> Iterator[str]:
    for part in ("job_logging", "hydra_logging"):
        for where, _ in _values(hydra.get(part), "()"):
            yield f"hydra.{part}.{where}.(): a logging factory could call anything; give a class."
        for where, name in _values(hydra.get(part), "class"):
            if name not in LOGGING_CLASSES:
                yield f"hydra.{part}.{where}.class={name}: only {', '.join(sorted(LOGGING_CLASSES))} may stand here."
        for where, name in _values(hydra.get(part), "filename"):
            if not LOG_FILE.fullmatch(str(name)):
                yield (
                    f"hydra.{part}.{where}.filename={name}: logs go into the run or sweep directory, as in "
                    "${hydra.runtime.output_dir}/${hydra.job.name}.log."
                )
        for where, value in strings(hydra.get(part)):
            if value.startswith(("ext://", "cfg://")) and value not in LOGGING_STREAMS:
                yield f"hydra.{part}.{where}={value}: only {', '.join(sorted(LOGGING_STREAMS))} may stand here."


def _values(node: Any, name: str, where: str = "") -> Iterator[tuple[str, Any]]:
    """(path of the holder, value) for every key ``name`` in a tree of plain containers."""
    for path, key, value in _walk(node, where):
        if key == name:
            yield path, value


def strings(node: Any) -> Iterator[tuple[str, str]]:
    """(path, value) of every string in a tree of plain containers."""
    for path, key, value in _walk(node, ""):
        if isinstance(value, str):
            yield f"{path}.{key}".lstrip("."), value


def _walk(node: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield where, key, value
        yield from _walk(value, f"{where}.{key}".lstrip("."))
