"""From overrides to composed, checked configs. Nothing here imports torch, so mistakes are answered at once."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped,unused-ignore]

from perpixel.config import environment, guard
from perpixel.config.checks import check_values
from perpixel.config.errors import ConfigError, nearest, together
from perpixel.config.own import OwnFile, faults_of, located, own_files
from perpixel.config.paths import conf_dir
from perpixel.config.quoting import as_one_text, grammar_faults
from perpixel.config.schema import register
from perpixel.config.short import write_out
from perpixel.config.texts import quoted_texts, typed_as_text

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
        own: the user's files (``--config-dir``) that it is made of.
        axes: values that the config itself sweeps over, by key (``hydra.sweeper.params``, in an experiment).
        sweeper: Hydra's node of the sweeper.
        launcher: Hydra's node of the launcher.
        choices: of every group; None where a group is left out.
    """

    overrides: list[str]
    cfg: DictConfig
    run_dir: Path
    sweep_dir: Path
    axes: Mapping[str, str] = field(default_factory=dict)
    own: Sequence[OwnFile] = ()
    sweeper: Mapping[str, Any] = field(default_factory=dict)
    launcher: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str | None] = field(default_factory=dict)


def job_name(overrides: Sequence[str], constant: Sequence[str] = ()) -> str:
    """A directory name that tells a job's overrides, without those of ``constant`` keys (the same in a whole sweep)."""
    told = [
        f"{key.lstrip('+~')}-{value}"
        for key, _, value in (str(override).partition("=") for override in overrides)
        if key not in constant
    ]
    return file_name("_".join(told))


def run_name(name: str | None, overrides: Sequence[str]) -> str:
    """A run's directory by the name that it was given, else by its overrides, without where data and runs lie."""
    return file_name(name) if name else job_name(overrides, ("output", "data.source.root"))


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
    OmegaConf.register_new_resolver("perpixel.run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("perpixel.when", when, replace=True)


def compose(overrides: Sequence[str], verb: str = "train", config_dir: str | None = None, partial: bool = False) -> Job:
    """Compose one job and hold it against the schema and the guard.

    Args:
        overrides: as on the command line, without sweeps.
        verb: name of the root config.
        config_dir: a further directory of configs, searched first (``--config-dir``).
        partial: let values be missing, for who only looks.

    Raises:
        ConfigError: every fault, each with its key and the nearest valid name.
    """
    with _hydra(verb, config_dir) as loader:
        return _compose(loader, quoted_texts(overrides, typed_as_text(verb)), verb, config_dir, partial)


def expand(overrides: Sequence[str], verb: str = "train", config_dir: str | None = None) -> list[Job]:
    """Compose and check every job of a grid (``loss=ce,dice seed=1,2``): the product of all sweeps, last varying
    fastest. Axes that the config brings (``hydra.sweeper.params``) come first; one that is typed, too, has what is
    typed. For a sweeper that searches: jobs that together hold every value once.

    Raises:
        ConfigError: the faults of all jobs.
    """
    overrides = quoted_texts(overrides, typed_as_text(verb))
    with _hydra(verb, config_dir) as loader:
        parsed = _parse(overrides, loader)
        fixed = [one.input_line or "" for one in parsed if one.is_delete() or not one.is_sweep_override()]
        sweeper = _compose(loader, fixed, verb, config_dir).sweeper if _chooses_sweeper(parsed) else {}
        axes = {} if searches(sweeper) else _axes(loader, overrides, verb)
        combinations: Iterable[Sequence[str]]
        if searches(sweeper):
            searched = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
            combinations = _each_once([*_parse(searched, loader), *parsed])
        else:
            lines = [*(f"{key}={values}" for key, values in axes.items()), *overrides]
            choices = {
                one.get_key_element(): _choices(one) for one in _parse(lines, loader)
            }  # as Hydra's sweeper has it
            combinations = itertools.product(*choices.values())
        jobs: list[Job] = []
        faults: list[str] = []
        for combination in combinations:
            try:
                job = _compose(loader, list(combination), verb, config_dir)
                faults += [] if searches(sweeper) else _late_axes(job, axes)
                jobs.append(job)
            except ConfigError as error:
                faults += error.faults
        if faults:
            raise together(faults)
        return jobs


def _axes(loader: ConfigLoaderImpl, overrides: Sequence[str], verb: str) -> Mapping[str, str]:
    """What the config of the whole sweep sweeps over: Hydra composes it of what is not swept itself."""
    fixed = [one.input_line or "" for one in _parse(overrides, loader) if not one.is_sweep_override()]
    _check_search_path(fixed, loader)
    try:
        cfg = hydra_compose(verb, overrides=fixed, return_hydra_config=True)
        return {str(key): str(values) for key, values in (OmegaConf.select(cfg, "hydra.sweeper.params") or {}).items()}
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError):
        return {}  # the jobs have the same fault


def _late_axes(job: Job, axes: Mapping[str, str]) -> list[str]:
    """Axes of a choice that is itself swept come too late: Hydra would leave them out without a word."""
    late = {key: values for key, values in job.axes.items() if axes.get(key) != values}
    return [
        f"hydra.sweeper.params.{key}={values}: the axes of an experiment count where the experiment is fixed, not "
        f"where it is swept. Sweep each experiment by itself, or type {key}={values}."
        for key, values in late.items()
    ]


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
        raise together(grammar_faults(overrides) or [_first_lines(error)]) from None


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
def _hydra(verb: str, config_dir: str | None) -> Iterator[ConfigLoaderImpl]:
    from hydra._internal.config_repository import ConfigRepository
    from hydra.core.config_search_path import SearchPathElement
    from hydra.core.global_hydra import GlobalHydra

    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir={config_dir}: there is no such folder (seen from {Path.cwd()}).")

    install()
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(conf_dir()), job_name=verb, version_base="1.3"):
            loader: ConfigLoaderImpl = GlobalHydra.instance().hydra.config_loader  # type: ignore[union-attr,assignment]
            if config_dir is not None:
                own = SearchPathElement("command-line", f"file://{Path(config_dir).resolve()}")
                loader.config_search_path.get_path().insert(-1, own)  # the schemas stay last
                loader.repository = ConfigRepository(loader.config_search_path)
            yield loader
    finally:
        if state is not None:
            GlobalHydra.instance().initialize(state)


def _compose(
    loader: ConfigLoaderImpl, overrides: list[str], verb: str, config_dir: str | None, partial: bool = False
) -> Job:
    _check_search_path(overrides, loader)
    _check_single_choices(overrides, loader)
    try:
        cfg = hydra_compose(verb, overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        if faults := _own_faults(_own_files(overrides, loader, config_dir), loader):
            raise together(faults) from None
        raise _diagnose(error, overrides, loader, verb, config_dir) from None
    files = _own_files(overrides, loader, config_dir)
    try:
        return replace(_checked(cfg, overrides, verb, partial), own=files)
    except ConfigError as error:
        told = _own_faults(files, loader) or [located(fault, files) for fault in error.faults]
        raise together(told) from None


def _checked(cfg: DictConfig, overrides: list[str], verb: str, partial: bool) -> Job:
    hydra: Any = OmegaConf.to_container(cfg.hydra, resolve=False)
    try:
        run_dir, sweep_dir = (Path(OmegaConf.select(cfg, f"hydra.{mode}.dir")) for mode in ("run", "sweep"))
    except OmegaConfBaseException as error:
        raise ConfigError(_first_lines(error)) from None
    with open_dict(cfg):
        del cfg["hydra"]
    try:
        write_out(cfg)
        if not partial and (missing := sorted(OmegaConf.missing_keys(cfg))):
            raise together([f"{key}: a value is needed; give it as {key}=…" for key in missing])
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_keyed(error)) from None
    faults = guard.check_hydra(hydra) + guard.check_job(plain)
    if verb == "train" and not partial:
        faults += check_values(cfg)
    if faults:
        raise together(faults)
    sweeper: Any = hydra["sweeper"] if isinstance(hydra, dict) else {}
    launcher: Any = hydra["launcher"] if isinstance(hydra, dict) else {}
    axes = {str(key): str(values) for key, values in (sweeper.get("params") or {}).items()}
    choices = {str(group): choice for group, choice in hydra["runtime"]["choices"].items()}
    return Job(overrides, cfg, run_dir, sweep_dir, axes=axes, sweeper=sweeper, launcher=launcher, choices=choices)


def _check_search_path(overrides: list[str], loader: ConfigLoaderImpl) -> None:
    """Before composing, because Hydra imports a ``pkg://`` entry while it composes."""
    for override in _parse(overrides, loader):
        if override.key_or_group == "hydra.searchpath":
            value = override.value()
            entries = value if isinstance(value, list) else [value]
            faults = [fault for fault in map(guard.search_path_fault, entries) if fault]
            if faults:
                raise together(faults)


def _check_single_choices(overrides: list[str], loader: ConfigLoaderImpl) -> None:
    """Of several choices in one group Hydra would take the last; only experiments are made to be put together."""
    groups = {group for group in _groups(loader) if not group.startswith("hydra")} - {"experiment"}
    if faults := [_several(one) for one in _parse(overrides, loader) if _is_choice(one, groups) and _is_list(one)]:
        raise together(faults)


def _is_list(override: Override) -> bool:
    return not override.is_delete() and isinstance(override.value(), list)


def _several(override: Override) -> str:
    group, names = override.key_or_group, ",".join(map(str, override.value()))  # type: ignore[arg-type]
    instead = "metrics.jsonl has all scores beside any logger" if group == "logger" else ""
    instead = "sums of losses are choices of their own, as loss=ce_dice" if group == "loss" else instead
    return (
        f"{override.input_line}: {group} takes one choice, not a list{f' ({instead})' if instead else ''}. To train "
        f"one run with each give -m {group}={names}."
    )


def _own_files(overrides: list[str], loader: ConfigLoaderImpl, config_dir: str | None) -> list[OwnFile]:
    """The files of ``--config-dir`` that the overrides choose."""
    chosen = [] if config_dir is None else _parse(overrides, loader)
    choices = [
        (override.key_or_group, str(name))
        for override in chosen
        if not override.is_delete() and not override.is_sweep_override()
        for name in _listed(override.value())
    ]
    return own_files([Path(config_dir).resolve()] if config_dir else [], choices)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _own_faults(files: Sequence[OwnFile], loader: ConfigLoaderImpl) -> list[str]:
    return [fault for file in files for fault in faults_of(file, loader.repository.get_group_options)]


def _diagnose(
    error: Exception, overrides: list[str], loader: ConfigLoaderImpl, verb: str, config_dir: str | None
) -> ConfigError:
    """Name every faulty override, where Hydra stops at the first and does not suggest a name."""
    parsed = _parse(overrides, loader)
    if sweeps := [override.input_line or "" for override in parsed if override.is_sweep_override()]:
        return together(
            [
                f"{line}: several values make a sweep; add -m to train them one after the other. A list is written "
                f"{key}=[{values}], and one text with a comma {as_one_text(line)}."
                for line in sweeps
                for key, _, values in [line.partition("=")]
            ]
        )
    groups = {group for group in _groups(loader) if not group.startswith(("hydra", "schema"))}
    faults = [fault for override in parsed for fault in _choice_faults(override, groups, loader)]
    sound = [o for o in parsed if _is_choice(o, groups) and not _choice_faults(o, groups, loader)]
    try:
        base = hydra_compose(verb, overrides=[o.input_line or "" for o in sound])
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError):
        files = _own_files(overrides, loader, config_dir)
        return together(faults or [_placed(_in_file(error, files) or _first_lines(error))])
    known = set(_keys(base)) | groups
    for override in parsed:
        if not _is_choice(override, groups) and not override.key_or_group.startswith("hydra"):
            faults += _value_faults(override, known, [o.input_line or "" for o in sound], verb)
    return together(faults or [_first_lines(error)])


def _in_file(error: BaseException, files: Sequence[OwnFile]) -> str:
    """Hydra's word on a value of one of the user's files, with the file and line; empty where it is on something else.

    OmegaConf names the key on a line of its own, Hydra keeps OmegaConf's error as the cause.
    """
    told = "\n".join(map(str, (error, error.__cause__ or "")))
    key = re.search(r"full_key: (\S+)", told)
    text = f"{key[1]}: {_first_lines(error.__cause__ or error)}" if key else ""
    return found if text and (found := located(text, files)) != text else ""


def _is_choice(override: Override, groups: set[str]) -> bool:
    return override.key_or_group in groups


def _choice_faults(override: Override, groups: set[str], loader: ConfigLoaderImpl) -> list[str]:
    group, value, typed = override.key_or_group, override.value(), override.get_key_element().lstrip("+")
    if group not in groups or override.is_delete():
        return []
    options = loader.repository.get_group_options(group)
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
    # not loader.list_groups, which copies the whole repository for each group
    for name in loader.repository.get_group_options(parent, ObjectType.GROUP):
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


def _keyed(error: BaseException) -> str:
    """OmegaConf's word, behind the key that it is on."""
    key = re.search(r"full_key: (\S+)", str(error))
    return f"{key[1]}: {_first_lines(error)}" if key else _first_lines(error)


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "set_struct"))]
    return " ".join(kept)
