"""From overrides to composed, checked configs. Nothing here imports torch, so mistakes are answered at once."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from perpixel.config import environment, guard
from perpixel.config.checks import check_values
from perpixel.config.errors import ConfigError, nearest, together
from perpixel.config.paths import conf_dir
from perpixel.config.schema import register

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

OPEN = {"encoder": "encoder.name=<any encoder of smp or timm>"}  # groups whose files are not all there is to choose
FEW = 8  # as many choices are named that have a key which the chosen one lacks

GRID = ("GridSweeper", "BasicSweeper")

FILE_NAME_LENGTH = 100  # characters; file systems take 255 bytes, and a name should be readable


@dataclass(frozen=True)
class Job:
    """One composed run.

    Attributes:
        overrides: of the job, as typed.
        cfg: the config without Hydra's node.
        run_dir: where the job goes when it runs alone.
        sweep_dir: where the sweep goes that it is part of.
        sweeper: Hydra's node of the sweeper.
        launcher: Hydra's node of the launcher.
    """

    overrides: list[str]
    cfg: DictConfig
    run_dir: Path
    sweep_dir: Path
    sweeper: Mapping[str, Any] = field(default_factory=dict)
    launcher: Mapping[str, Any] = field(default_factory=dict)


def job_name(overrides: Sequence[str], constant: Sequence[str] = ()) -> str:
    """A directory name that tells a job's overrides, without those of ``constant`` keys (the same in a whole sweep)."""
    told = [
        f"{key.lstrip('+~')}-{value}"
        for key, _, value in (str(override).partition("=") for override in overrides)
        if key not in constant
    ]
    return file_name("_".join(told))


def file_name(text: str) -> str:
    """A text as a short file name: letters, digits and ``_.+-``; a list is its items joined by ``+``.

    A path of such names can be typed as an override's value (``evaluate run=…``): a comma would make it a sweep, and
    ``=``, brackets, quotes and spaces break Hydra's parser.
    """
    items = re.sub(r"\s*,\s*", "+", re.sub(r"[\[\](){}'\"]", "", text))
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", items).strip("_.") or "default"
    if len(name) > FILE_NAME_LENGTH:
        name = f"{name[: FILE_NAME_LENGTH - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return name


def when(given: object, expected: object, value: object, otherwise: object) -> object:
    """``${perpixel.when:${.key},expected,value,otherwise}``: a default that holds beside one choice only."""
    return value if given == expected else otherwise


def install() -> None:
    """Make schemas and resolvers known to Hydra; called when the command line starts and in every worker."""
    register()
    environment.install()
    OmegaConf.register_new_resolver("perpixel.job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("perpixel.when", when, replace=True)


def compose(overrides: Sequence[str], verb: str = "train", config_dir: str | None = None) -> Job:
    """Compose one job and hold it against the schema and the guard.

    Args:
        overrides: as on the command line, without sweeps.
        verb: name of the root config.
        config_dir: a further directory of configs, searched first (``--config-dir``).

    Raises:
        ConfigError: every fault, each with its key and the nearest valid name.
    """
    with _hydra(verb) as loader:
        return _compose(loader, list(overrides), verb, config_dir)


def expand(overrides: Sequence[str], verb: str = "train", config_dir: str | None = None) -> list[Job]:
    """Compose and check every job of a grid (``loss=ce,dice seed=1,2``): the product of all sweeps, last varying
    fastest. For a sweeper that searches: jobs that together hold every value once.

    Raises:
        ConfigError: the faults of all jobs.
    """
    with _hydra(verb) as loader:
        parsed = _parse(overrides, loader)
        fixed = [o.input_line or "" for o in parsed if o.is_delete() or not o.is_sweep_override()]
        sweeper = _compose(loader, fixed, verb, config_dir).sweeper if _chooses_sweeper(parsed) else {}
        if searches(sweeper):
            axes = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
            combinations = _each_once([*_parse(axes, loader), *parsed])
        else:
            combinations = [list(job) for job in itertools.product(*map(_choices, parsed))]
        jobs: list[Job] = []
        faults: list[str] = []
        for job in combinations:
            try:
                jobs.append(_compose(loader, job, verb, config_dir))
            except ConfigError as error:
                faults += error.faults
        if faults:
            raise together(faults)
        return jobs


def searches(sweeper: Mapping[str, Any]) -> bool:
    """Whether a sweeper chooses its jobs as it goes, instead of running a grid."""
    return not str(sweeper.get("_target_", GRID[0])).endswith(GRID)


def _chooses_sweeper(parsed: Sequence[Override]) -> bool:
    return any(override.key_or_group in ("hydra/sweeper", "experiment") for override in parsed)


def _each_once(parsed: Sequence[Override]) -> list[list[str]]:
    """Jobs in which every value of every axis (of an interval both ends) occurs, each beside the others' first."""
    values = [_values(override) for override in parsed]
    first = [found[0] for found in values]
    return [first, *([*first[:n], one, *first[n + 1 :]] for n, found in enumerate(values) for one in found[1:])]


def _values(override: Override) -> list[str]:
    if not override.is_delete() and override.is_sweep_override() and not override.is_discrete_sweep():
        key = override.get_key_element()
        interval: Any = override.value()
        return [f"{key}={interval.start}", f"{key}={interval.end}"]
    return _choices(override)


def _parse(overrides: Sequence[str], loader: ConfigLoaderImpl) -> list[Override]:
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(
            f"{_first_lines(error)} (an override reads key=value; quote values with special characters)"
        ) from None


def _choices(override: Override) -> list[str]:
    if override.is_delete():
        return [override.input_line or ""]
    if not override.is_sweep_override():  # spelt as Hydra's sweeper does: the job's directory is named by it
        return [f"{override.get_key_element()}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line}: a grid takes listed values, choice(…) or range(…).")
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


@contextmanager
def _hydra(verb: str) -> Iterator[ConfigLoaderImpl]:
    from hydra.core.global_hydra import GlobalHydra

    install()
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(conf_dir()), job_name=verb, version_base="1.3"):
            yield GlobalHydra.instance().hydra.config_loader  # type: ignore[union-attr,misc]
    finally:
        if state is not None:
            GlobalHydra.instance().initialize(state)


def _compose(loader: ConfigLoaderImpl, overrides: list[str], verb: str, config_dir: str | None) -> Job:
    _check_search_path(overrides, loader)
    extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    try:
        cfg = hydra_compose(verb, overrides=overrides + extra, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _diagnose(error, overrides, loader, verb) from None
    return _checked(cfg, overrides, verb)


def _checked(cfg: DictConfig, overrides: list[str], verb: str) -> Job:
    hydra: Any = OmegaConf.to_container(cfg.hydra, resolve=False)
    try:
        run_dir, sweep_dir = (Path(OmegaConf.select(cfg, f"hydra.{mode}.dir")) for mode in ("run", "sweep"))
    except OmegaConfBaseException as error:
        raise ConfigError(_first_lines(error)) from None
    with open_dict(cfg):
        del cfg["hydra"]
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise together([f"{key}: a value is needed; give it as {key}=…" for key in missing])
    try:
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_lines(error)) from None
    faults = guard.check_hydra(hydra) + guard.check_job(plain)
    if verb == "train":
        faults += check_values(cfg)
    if faults:
        raise together(faults)
    return Job(overrides, cfg, run_dir, sweep_dir, hydra["sweeper"], hydra["launcher"])


def _check_search_path(overrides: list[str], loader: ConfigLoaderImpl) -> None:
    """Before composing, because Hydra imports a ``pkg://`` entry while it composes."""
    for override in _parse(overrides, loader):
        if override.key_or_group == "hydra.searchpath":
            value = override.value()
            entries = value if isinstance(value, list) else [value]
            faults = [fault for fault in map(guard.search_path_fault, entries) if fault]
            if faults:
                raise together(faults)


def _diagnose(error: Exception, overrides: list[str], loader: ConfigLoaderImpl, verb: str) -> ConfigError:
    """Name every faulty override, where Hydra stops at the first and does not suggest a name."""
    parsed = _parse(overrides, loader)
    if sweeps := [override.input_line or "" for override in parsed if override.is_sweep_override()]:
        return together(
            [f"{line}: several values make a sweep; add -m to train them one after the other." for line in sweeps]
        )
    groups = {group for group in _groups(loader) if not group.startswith(("hydra", "schema"))}
    faults = [fault for override in parsed for fault in _choice_faults(override, groups, loader)]
    sound = [o for o in parsed if _is_choice(o, groups) and not _choice_faults(o, groups, loader)]
    try:
        base = hydra_compose(verb, overrides=[o.input_line or "" for o in sound])
    except (HydraException, OmegaConfBaseException):
        return together(faults or [_placed(_first_lines(error))])
    known = set(_keys(base)) | groups
    for override in parsed:
        if not _is_choice(override, groups) and not override.key_or_group.startswith("hydra"):
            faults += _value_faults(override, known, [o.input_line or "" for o in sound], verb)
    return together(faults or [_first_lines(error)])


def _is_choice(override: Override, groups: set[str]) -> bool:
    return override.key_or_group in groups


def _choice_faults(override: Override, groups: set[str], loader: ConfigLoaderImpl) -> list[str]:
    group, value, typed = override.key_or_group, override.value(), override.get_key_element().lstrip("+")
    if group not in groups or override.is_delete():
        return []
    options = loader.get_group_options(group)
    if value is None and group != "experiment":
        return [f"{typed}=null: a choice is needed. {group} is one of: {', '.join(options)}."]
    if value is None:
        return []
    there = ", ".join(options) + (f", or {OPEN[group]}" if group in OPEN else "")
    unknown = [name for name in (value if isinstance(value, list) else [value]) if str(name) not in options]
    return [
        f"{typed}={name}: there is no such choice.{nearest(str(name), options)} "
        f"{group} is one of: {there}. Keys inside it are set as {override.package or group}.key=value."
        for name in unknown
    ]


def _value_faults(override: Override, known: set[str], sound: list[str], verb: str) -> list[str]:
    key, line = override.key_or_group, override.input_line or ""
    if not override.is_add() and key not in known:
        return [f"{key}: there is no such key{_elsewhere(key) or '.' + nearest(key, known)}"]
    try:
        hydra_compose(verb, overrides=[*sound, line])
    except (HydraException, OmegaConfBaseException) as error:
        return [f"{line}: {_first_lines(error.__cause__ or error)}"]
    return []


def _elsewhere(key: str) -> str:
    """Which other choices of the key's group have it, where the chosen one has not (``model.skips`` beside FPN)."""
    group, _, inner = key.partition(".")
    files = sorted(conf_dir().joinpath(group).glob("*.yaml")) if inner else []
    having = [file.stem for file in files if inner in _own_keys(OmegaConf.load(file))]
    return f" here: it belongs to {group}={', '.join(having)}." if 0 < len(having) <= FEW else ""


def _own_keys(file: Any) -> Iterator[str]:
    """Keys of a group's file, and the places that it fills with a choice of its own (``/augment@recipe: default``)."""
    yield from _keys(file)
    yield from (
        str(key).partition("@")[2] for entry in file.get("defaults", ()) if OmegaConf.is_dict(entry) for key in entry
    )


def _placed(told: str) -> str:
    """Hydra's word on a choice for a place that is not there, as ours where another choice has it."""
    place = re.match(r"Could not override '(\w+@([\w.]+))'", told)
    elsewhere = _elsewhere(place[2]) if place else ""
    return f"{place[1]}: there is no such place{elsewhere}" if place and elsewhere else told


def _groups(loader: ConfigLoaderImpl, parent: str = "") -> Iterator[str]:
    for name in loader.list_groups(parent):
        group = f"{parent}/{name}" if parent else name
        yield group
        yield from _groups(loader, group)


def _keys(node: Any, where: str = "") -> Iterator[str]:
    if OmegaConf.is_dict(node):
        for key in node:
            path = f"{where}.{key}" if where else str(key)
            yield path
            if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
                yield from _keys(node[key], path)


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "set_struct"))]
    return " ".join(kept)
