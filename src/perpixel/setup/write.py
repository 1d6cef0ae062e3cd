"""A recipe as YAML that can be read, changed and trained from: one value a line, with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from perpixel.data.files.file_cache import write_whole
from perpixel.setup.decide import Choice, Facts, Recipe

WIDTH = 118
_COLUMN = 46


def as_yaml(recipe: Recipe, heading: Sequence[str]) -> str:
    """An experiment's file: ``python src/train.py --config-dir <folder> experiment=<name>``."""
    lines = ["# @package _global_", *(f"# {line}" for line in heading), "defaults:"]
    lines += [_line(2, f"- override /{one.key}: {one.value}", one.why) for one in recipe.groups]
    for section, choices in _sections(recipe.values).items():
        lines += ["", f"{section}:", *_nested(choices, 2)]
    return "\n".join(lines) + "\n"


def write_config(
    directory: Path, name: str, recipe: Recipe, facts: Facts, heading: Sequence[str], overwrite: bool
) -> Path:
    """Write ``experiment/<name>.yaml``, and the policy and lists that it names.

    Raises:
        ValueError: there is such a file with another content, and it is not to be written over.
    """
    path = directory / "experiment" / f"{name}.yaml"
    files: dict[Path, str] = {}
    values = []
    for one in recipe.values:
        if one.key == "data.policy":
            policy = directory.resolve() / f"{name}_policy.yaml"
            assert facts.meaning.policy is not None
            files[policy] = _policy(facts)
            one = one._replace(value=str(policy))
        if one.key == "data.source.lists":
            lists = _lists(facts)
            paths = {split: directory.resolve() / f"{name}_{split}.txt" for split in lists}
            files |= {paths[split]: "\n".join(keys) + "\n" for split, keys in lists.items()}
            one = one._replace(value={split: str(where) for split, where in paths.items()})
        values.append(one)
    files[path] = as_yaml(Recipe(recipe.groups, tuple(values)), heading)
    if path.exists() and path.read_text(encoding="utf-8") != files[path] and not overwrite:
        raise ValueError(f"'{path}' is there already: give the config another name (name=…), or overwrite=true.")
    for where, text in files.items():
        write_whole(where, text.encode())
    return path


def _policy(facts: Facts) -> str:
    policy = facts.meaning.policy
    assert policy is not None
    lines = ["# What the masks' stored values mean; rename, merge (from: [3, 4]) or ignore as you like."]
    lines.append(f"ignore: {_value(policy['ignore'])}")
    lines.append("classes:")
    for entry, share in zip(policy["classes"], facts.meaning.shares, strict=True):
        lines.append(
            _line(2, f"- {{name: {_value(entry['name'])}, from: {entry['from']}}}", f"{share:.2%} of the pixels")
        )
    return "\n".join(lines) + "\n"


def _lists(facts: Facts) -> dict[str, list[str]]:
    """Where there is a test folder and no validation: every sixth training image."""
    splits = facts.layout.splits
    training = sorted(splits["train"])
    validation = training[::6] if len(training) > 1 else training
    return {
        "train": [key for key in training if key not in set(validation)],
        "val": validation,
        "test": sorted(splits["test"]),
    }


def _sections(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    found: dict[str, list[Choice]] = {}
    for one in choices:
        section, _, rest = one.key.partition(".")
        found.setdefault(section, []).append(one._replace(key=rest))
    return found


def _nested(choices: Sequence[Choice], indent: int) -> Iterator[str]:
    """Keys of one section; those below a further key come under its name, in the place of the first of them."""
    done = set()
    for one in choices:
        parent, dot, _ = one.key.partition(".")
        if parent in done:
            continue
        if not dot:
            yield _line(indent, f"{one.key}: {_value(one.value)}", one.why)
            continue
        done.add(parent)
        own = [
            other._replace(key=other.key.partition(".")[2]) for other in choices if other.key.startswith(f"{parent}.")
        ]
        yield f"{' ' * indent}{parent}:"
        yield from _nested(own, indent + 2)


def _line(indent: int, text: str, why: str) -> str:
    """The reason behind the value, or above it where the line would be long."""
    line = f"{' ' * indent}{text}"
    if not why:
        return line
    behind = f"{line:<{_COLUMN}}  # {why}"
    return behind if len(behind) <= WIDTH else f"{' ' * indent}# {why}\n{line}"


def _value(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, str) and "${" in value:
        value = value.replace("${", "\\${")
    if isinstance(value, float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(one)}" for key, one in value.items()) + "}"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("...").strip()
