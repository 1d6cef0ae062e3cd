"""Texts that look like numbers: ``data.source.root=2024`` names a folder, and ``1e3`` is not 1000.0."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from perpixel.config.errors import ConfigError
from perpixel.config.objects import argument_takes_text
from perpixel.config.schema import SCHEMAS

_OVERRIDE = re.compile(r"(\+{0,2})([\w.]+)=(.*)", re.DOTALL)
_NO_TEXT = re.compile(r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[+-]?\d[\d_]*)?|[+-]?(inf|nan)|true|false", re.IGNORECASE)
_GRAMMAR = re.compile(r"[\[\](){}'\"\\$]")


def quoted_texts(overrides: Sequence[str], is_text: Callable[[str], bool]) -> list[str]:
    """Overrides with quotes around what Hydra would read as a number or a truth value where a text is meant.

    Args:
        overrides: as typed; sweeps (``a,b``) are quoted one by one, and what has quotes or brackets stays as it is.
        is_text: whether a key holds text.
    """
    return [_quoted(override, is_text) for override in overrides]


def _quoted(override: str, is_text: Callable[[str], bool]) -> str:
    match = _OVERRIDE.fullmatch(override)
    if match is None or _GRAMMAR.search(match[3]):
        return override
    values = [value.strip() for value in match[3].split(",")]
    if not any(map(_NO_TEXT.fullmatch, values)) or not is_text(match[2]):
        return override
    written = [f"'{value}'" if _NO_TEXT.fullmatch(value) else value for value in values]
    return f"{match[1]}{match[2]}={','.join(written)}"


def typed_as_text(verb: str) -> Callable[[str], bool]:
    """Whether a key of a verb's schema is typed as text."""
    keys = frozenset(_text_keys(SCHEMAS[verb]))
    return keys.__contains__


def _text_keys(schema: Any, where: str = "") -> list[str]:
    defaults = schema()
    found = []
    for field in fields(schema):
        if is_dataclass(child := getattr(defaults, field.name, None)):
            found += _text_keys(type(child), f"{where}{field.name}.")
        elif str(field.type) in ("str", "str | None"):
            found.append(f"{where}{field.name}")
    return found


def is_text_in(cfg: DictConfig) -> Callable[[str], bool]:
    """Whether a key of a config is an argument that takes text, by the class that it belongs to, which is imported."""
    return lambda key: _class_takes_text(cfg, key)


def _class_takes_text(cfg: DictConfig, key: str) -> bool:
    names = key.split(".")
    for cut in range(len(names) - 1, 0, -1):
        holder = OmegaConf.select(cfg, ".".join(names[:cut]), throw_on_missing=False)
        if OmegaConf.is_dict(holder) and "_target_" in holder:
            try:
                return argument_takes_text(holder._target_, names[cut:], ".".join(names[:cut]))
            except ConfigError:  # told with all other faults
                return False
    return False
