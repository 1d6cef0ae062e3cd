"""Overrides as Hydra's grammar and a shell take them: what to type where a value holds characters with a meaning."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from perpixel.config.errors import ConfigError

_EXAMPLE = ["loss=dice", "trainer.max_epochs=5"]
_RULE = "an override reads key=value;"
_TAKEN_BARE = re.compile(r"[\w/.+*?%@|:$ -]", re.ASCII)
"""Characters that a bare text may hold in Hydra's grammar; all others are quoted."""


def typed(key: str, value: object) -> str:
    """``key=value`` as it is typed in a shell, and as it is written in a list of overrides in Python.

    Args:
        key: of the config.
        value: a text stays that text, whatever it holds: it is quoted where it must be.
    """
    bare = f"{key}={_written(value)}"
    if not isinstance(value, str) or (_read(bare) == value and shlex.quote(bare) == bare):
        return bare
    return shlex.quote(f"{key}={_quoted(value)}")


def as_one_text(line: str) -> str:
    """An override that reads as several values, written so that it is one text."""
    key, _, value = line.partition("=")
    return shlex.quote(f"{key}={_quoted(value)}")


def grammar_faults(lines: Iterable[str]) -> list[str]:
    """What Hydra's grammar does not take of some overrides: each with how it is written."""
    found = []
    for line in lines:
        try:
            OverridesParser.create().parse_override(line)
        except HydraException as error:
            found.append(f"{line}: {_advice(line) or ' '.join(str(error).split())}")
    return found


def checked_overrides(given: Any) -> list[str]:
    """The overrides of a call from Python.

    Raises:
        ConfigError: it is one text, a mapping, or holds something else than texts; shows the list to write.
    """
    if isinstance(given, str):
        raise _needs_list("one text", _as_typed(given))
    if isinstance(given, Mapping):
        raise _needs_list("a mapping", [f"{key}={_written(value)}" for key, value in given.items()])
    if not isinstance(given, Iterable):
        raise _needs_list(f"of type {type(given).__name__}", _EXAMPLE)
    listed = list(given)
    for one in listed:
        if not isinstance(one, str):
            raise ConfigError(f"{one!r} is no override: each is a text that reads key=value, as in {_EXAMPLE!r}.")
    return listed


def _needs_list(what: str, meant: list[str]) -> ConfigError:
    return ConfigError(f"overrides are a list of texts, and this is {what}: write {meant!r}.")


def _as_typed(text: str) -> list[str]:
    """What a shell would make of a line."""
    try:
        return shlex.split(text) or _EXAMPLE
    except ValueError:  # an apostrophe in a path
        return [text]


def _advice(line: str) -> str:
    """How an override that does not parse is written; empty where quotes do not help."""
    key, equals, value = line.partition("=")
    if not equals:
        return f"an override reads key=value, as in {_EXAMPLE[0]}."
    items = f"{key}={_items_quoted(value)}"
    if value[:1] == "[" and value[-1:] == "]" and isinstance(_read(items), list):
        return f"{_RULE} such a text in a list is quoted, and the whole for the shell: {shlex.quote(items)}"
    if _read(f"{key}={_quoted(value)}") != value:
        return ""
    marks = " ".join(dict.fromkeys(mark for mark in value if not _TAKEN_BARE.match(mark)))
    return (
        f"{_RULE} a text with {marks or 'such characters'} is quoted, and the whole for the shell: {as_one_text(line)}"
    )


def _items_quoted(value: str) -> str:
    """A list with its items quoted where they must be."""
    items = [item.strip() for item in value[1:-1].split(",")]
    return f"[{','.join(item if _read(f'key={item}') is not None else _quoted(item) for item in items)}]"


def _written(value: object) -> str:
    """A value in Hydra's grammar, bare."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    return str(value)


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.double).with_quotes()


def _read(line: str) -> object:
    """The value that Hydra reads, None where it reads none."""
    try:
        override = OverridesParser.create().parse_override(line)
    except HydraException:
        return None
    return None if override.is_sweep_override() else override.value()
