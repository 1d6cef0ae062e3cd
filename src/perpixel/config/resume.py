"""A stopped run's own config, with the changes that the user names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from perpixel.config import guard
from perpixel.config.checks import check_values
from perpixel.config.errors import ConfigError, nearest, together
from perpixel.config.quoting import grammar_faults
from perpixel.config.short import write_out
from perpixel.config.texts import is_text_in, quoted_texts, typed_as_text
from perpixel.config.untrusted import read_run_config

KEY = "resume"
NETWORK = ("model", "encoder", "decoder")
STARTING_WEIGHTS = ("encoder.weights", "encoder.sha256")
"""Keys of the network that may change until a state is saved: a run whose weights were not found can go on."""


def resume_directory(overrides: Sequence[str]) -> Path | None:
    """The run that the command line says to go on with, None where it says nothing of the kind.

    Looked for before anything is composed: today's defaults have nothing to do with that run.
    """
    given = [line.partition("=")[2].strip("'\"") for line in overrides if line.startswith(f"{KEY}=")]
    return Path(given[-1]).resolve() if given and given[-1] not in ("", "null") else None


def resumed_config(run: Path, overrides: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """What a run goes on with: the config that it saved, not today's YAMLs, and only what is changed on the command
    line.

    Args:
        run: a run directory.
        overrides: as typed; ``resume`` itself and Hydra's keys are left out.

    Returns:
        The config, and the changes as ``key=value``.

    Raises:
        ConfigError: no run, or changes that a run cannot take; all faults at once.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{KEY}={run}: this is no run directory (it has no config.yaml).")
    cfg = read_run_config(path)
    # The run's path may hold characters that have a meaning in Hydra's grammar.
    changes = _parsed(cfg, [line for line in overrides if not line.startswith(f"{KEY}=")])
    trained = any((run / "checkpoints").glob("state-*"))
    return _changed(cfg, changes, trained), [change.input_line or "" for change in changes]


def changed_config(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A run's config with some of its keys changed, held to the same rules as a resumed run's.

    Args:
        cfg: as :func:`read_run_config` gives it; it is changed in place.
        overrides: as typed, ``key=value``.

    Raises:
        ConfigError: changes that a run cannot take; all faults at once.
    """
    return _changed(cfg, _parsed(cfg, overrides), trained=True)


def _parsed(cfg: DictConfig, overrides: Sequence[str]) -> list[Override]:
    texts = quoted_texts(quoted_texts(overrides, typed_as_text("train")), is_text_in(cfg))
    try:
        parsed = OverridesParser.create().parse_overrides(texts)
    except HydraException as error:
        raise together(grammar_faults(overrides) or [str(error)]) from None
    return [change for change in parsed if not change.key_or_group.startswith("hydra")]


def _changed(cfg: DictConfig, changes: Sequence[Override], trained: bool) -> DictConfig:
    faults = [fault for change in changes for fault in _apply(cfg, change, trained)]
    write_out(cfg)
    faults = faults or guard.check_job(OmegaConf.to_container(cfg)) + check_values(cfg)
    if faults:
        raise together(faults)
    return cfg


def _apply(cfg: DictConfig, change: Override, trained: bool) -> Iterator[str]:
    key, line = change.key_or_group, change.input_line
    if change.is_add() or change.is_delete() or change.is_sweep_override():
        yield f"{line}: a resumed run takes key=value, nothing added, deleted or swept."
    elif (known := _keys(cfg)) and key not in known:
        yield f"{key}: this run's config has no such key.{nearest(key, known)}"
    elif key.partition(".")[0] in NETWORK and (trained or key not in STARTING_WEIGHTS):
        yield (
            f"{line}: the state fits the network that it was saved from. For another network start a new run, with "
            f"init_from=<this run> if it is to begin with these weights."
        )
    elif key.startswith("data.") and key.endswith("._target_"):
        yield f"{line}: a run keeps the kind of data that it was trained on. For other data start a new run."
    elif OmegaConf.is_dict(OmegaConf.select(cfg, key)) and not _leaves_out(change):
        yield (
            f"{line}: a resumed run keeps its {key}; single keys can change ({key}.<key>=…). For another {key} start a "
            f"new run, with init_from=<this run> if it is to begin with these weights."
        )
    else:
        try:
            OmegaConf.update(cfg, key, change.value())
        except OmegaConfBaseException as error:
            yield f"{line}: {str(error).splitlines()[0]}"


def _leaves_out(change: Override) -> bool:
    """Whether an evaluator is left out, as in ``evaluation.spatial=null``."""
    return change.key_or_group.startswith("evaluation.") and change.value() is None


def _keys(node: Any, where: str = "") -> list[str]:
    if not OmegaConf.is_dict(node):
        return []
    paths = {str(key): f"{where}.{key}" if where else str(key) for key in node}
    return [name for key, path in paths.items() for name in (path, *_keys(node[key], path))]
