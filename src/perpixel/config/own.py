"""Faults of the user's own YAML files (``--config-dir``), each with file and line: Hydra says neither."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from perpixel.config.checks import strangers
from perpixel.config.errors import nearest

GLOBAL = "_global_"
_PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)
_ENTRY = re.compile(r"(?:(?:override|optional)\s+)*/?([\w/]+)(?:@([\w.]+))?")  # "override /augment@augment.recipe"


@dataclass(frozen=True)
class OwnFile:
    """A YAML of the user's that a command line chooses.

    Attributes:
        path: of the file.
        group: that it is a choice of.
    """

    path: Path
    group: str

    @cached_property
    def text(self) -> str:
        """What stands in it; bytes that are no text are shown as such."""
        return self.path.read_text(encoding="utf-8", errors="replace")

    @cached_property
    def package(self) -> str:
        """Where its keys belong, as a dotted prefix; empty for the root."""
        found = _PACKAGE.search(self.text)
        name = found[1] if found else "_group_"
        return "" if name == GLOBAL else self.group.replace("/", ".") if name == "_group_" else name

    @cached_property
    def syntax(self) -> str:
        """What is wrong with it as YAML, empty where nothing is."""
        try:
            yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = " ".join(part for part in (error.context, error.problem) if part)
            return f"{self.at(mark.line + 1 if mark else 1)}: this is no YAML ({words})."
        except yaml.YAMLError as error:
            return f"{self.at(1)}: this is no YAML ({' '.join(str(error).split())})."
        return ""

    def at(self, line: int) -> str:
        """A place in it, for messages."""
        return f"'{self.path}', line {line}"

    @cached_property
    def lines(self) -> Mapping[str, int]:
        """Line of each key, by its full name in the config."""
        node = None if self.syntax else yaml.compose(self.text, Loader=yaml.SafeLoader)
        return dict(_lines(node, self.package))

    @cached_property
    def content(self) -> Any:
        """Its values as plain containers, None where it is no YAML."""
        return None if self.syntax else yaml.safe_load(self.text)

    def defaults(self) -> Iterator[tuple[str, str, str, int]]:
        """(entry as written, group, choice, line) of its defaults list; relative groups lie below its own."""
        entries = self.content.get("defaults") if isinstance(self.content, Mapping) else None
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            for key, choice in entry.items() if isinstance(entry, Mapping) else ():
                named = _ENTRY.fullmatch(str(key))
                absolute = named is not None and ("/" in str(key) or "override" in str(key))
                if named and choice is not None:
                    group = named[1] if absolute else f"{self.group}/{named[1]}".lstrip("/")
                    for one in choice if isinstance(choice, list) else [choice]:
                        yield str(key), group, str(one), self.lines.get(_join(self.package, f"defaults.{number}"), 1)


def own_files(folders: Sequence[Path], choices: Sequence[tuple[str, str]]) -> list[OwnFile]:
    """The user's files among some choices (group, name), and those that their defaults lists choose."""
    found: dict[Path, OwnFile] = {}
    waiting = list(choices)
    while waiting:
        group, name = waiting.pop(0)
        for folder in folders:
            path = folder / group / f"{name.removesuffix('.yaml')}.yaml"
            if path.is_file() and path not in found:
                found[path] = file = OwnFile(path, group)
                waiting += [(group, choice) for _, group, choice, _ in file.defaults()]
    return list(found.values())


def faults_of(file: OwnFile, options: Callable[[str], Sequence[str]]) -> list[str]:
    """What is wrong with one file, as far as the file itself shows it.

    Args:
        file: one that a command line chooses.
        options: group → its choices.
    """
    if file.syntax:
        return [file.syntax]
    content = file.content if isinstance(file.content, Mapping) else {}
    if file.content is not None and not isinstance(file.content, Mapping):
        return [f"{file.at(1)}: a config is keys with values, not {type(file.content).__name__}."]
    if file.group == "experiment" and file.package and (not content or set(content) - {"defaults"}):
        return [
            f"{file.at(1)}: the line '# @package {GLOBAL}' is missing at the top. Without it what "
            f"stands here belongs to '{file.package}', where nothing reads it."
        ]
    found = []
    for key, group, choice, line in file.defaults():
        known = options(group)
        if not known:
            found.append(f"{file.at(line)}: {key}: there is no group '{group}'.")
        elif file.group == "experiment" and key.startswith("/"):
            better = f"{group} is chosen already: write 'override {key}: {choice}'."
            found.append(f"{file.at(line)}: {key}: {choice}: {better}")
        elif choice not in known:
            found.append(f"{file.at(line)}: {key}: {choice}: there is no such choice.{nearest(choice, known)}")
    if file.package.partition(".")[0] == "hydra":  # which the guard looks at
        return found
    keys: Any = {key: value for key, value in content.items() if key not in ("defaults", "hydra")}
    for part in reversed(file.package.split(".") if file.package else []):
        keys = {part: keys}
    return found + [located(fault, [file]) for fault in strangers(keys)]


def located(fault: str, files: Sequence[OwnFile]) -> str:
    """A fault that begins with a key, behind the file and line that set the key, where one of the user's files did."""
    key = re.match(r"[\w.]+", fault)
    for file in files if key else ():
        if key and (line := file.lines.get(key[0].rstrip("."))):
            return f"{file.at(line)}: {fault}"
    return fault


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _lines(node: yaml.Node | None, where: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = _join(where, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _lines(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield _join(where, str(number)), value.start_mark.line + 1
            yield from _lines(value, _join(where, str(number)))
