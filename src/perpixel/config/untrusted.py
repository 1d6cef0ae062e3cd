"""Config files that may come from a stranger: a run directory somebody sent, a label policy from the web.

Reading one gives plain values or an error, never code and never an exhausted memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped,unused-ignore]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from perpixel.config import guard
from perpixel.config.checks import check_values
from perpixel.config.errors import ConfigError, together
from perpixel.config.schema import TrainConfig
from perpixel.config.short import write_out
from perpixel.spec import FORMAT, check_format

MOST_BYTES = 1 << 20
MOST_NODES = 100_000
"""Far beyond any config; nine nested aliases of nine would make a billion."""


def read_yaml(path: Path) -> Any:
    """The plain containers of a YAML file, interpolations unresolved.

    Raises:
        ConfigError: it is no YAML, too large, or would become too large when its aliases are written out.
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(f"'{path}' has more than {MOST_BYTES:,} bytes: that is no config of ours.")
    try:
        if _size(yaml.compose(content, Loader=yaml.SafeLoader), {}) > MOST_NODES:
            raise ConfigError(f"'{path}' holds more than {MOST_NODES:,} values (aliases written out).")
        return OmegaConf.to_container(OmegaConf.create(content.decode()), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, RecursionError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is no YAML that can be read: {error}") from None


def read_run_config(path: Path) -> DictConfig:
    """The ``config.yaml`` of a run directory, held to the rules of a command line: it may have been written by anyone.

    Runs save their config resolved, so an interpolation in it was put there by hand, and is refused: it could read this
    machine's environment.

    Raises:
        ConfigError: all faults, each with its key.
        FileNotFoundError: there is no such file.
    """
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise ConfigError(f"'{path}' is not the config of a run.")
    try:
        check_format(found.pop("format", None), f"'{path}'")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    faults = [
        f"{where}={value}: a run's config holds no interpolations."
        for where, value in guard.strings(found)
        if "${" in value
    ]
    if faults := [*faults, *guard.check_job(found)]:
        raise together([f"'{path}': {fault}" for fault in faults])
    try:
        cfg = write_out(cast(DictConfig, OmegaConf.merge(OmegaConf.structured(TrainConfig), found)))
        faults = check_values(cfg)
    except OmegaConfBaseException as error:
        faults = [str(error).splitlines()[0]]
    if faults:
        raise together([f"'{path}': {fault}" for fault in faults])
    return cfg


def run_config_text(cfg: DictConfig) -> str:
    """The content of a run's ``config.yaml``: the resolved config behind its format number."""
    return OmegaConf.to_yaml(
        OmegaConf.create({"format": FORMAT, **cast(Any, OmegaConf.to_container(cfg, resolve=True))})
    )


def _size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many nodes there are once every alias is written out; a node that holds itself has no end."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1
        children = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]
