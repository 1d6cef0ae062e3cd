"""What ``--help`` prints: a verb's choices, and its keys with the comments of the YAMLs that hold them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from omegaconf import DictConfig, OmegaConf

from perpixel.config import schema
from perpixel.config.paths import conf_dir

FIRST = {
    "train": {
        "seed": "of weights, split and augmentation; -m seed=1,2,3 shows the spread",
        "name": "of the run's directory",
        "data.size": "of a training sample, pixels; 256 is [256,256]",
        "data.batch_size": "samples a step, per device",
        "data.num_workers": "processes that read and augment",
        "optimizer.lr": "the highest learning rate of the schedule",
        "trainer.max_epochs": "length of the training",
        "trainer.accelerator": "auto, cpu, gpu, …",
        "trainer.devices": "how many; several need trainer=ddp",
        "trainer.precision": "32-true; 16-mixed or bf16-mixed on a GPU",
    }
}
"""The keys that most users set, by verb."""

_FIELD = re.compile(r"    (\w+): .*? = (?:field\(.*\)|[^#]*?)\s*(?:#\s*(.*))?$")
_LISTED = re.compile(r"- _target_: .*?(\w+)$", re.MULTILINE)
_NOT_SHOWN = ("defaults", "hydra")


def help_text(
    verb: str, cfg: DictConfig, choices: Mapping[str, str | None], typed: Sequence[str], folders: Sequence[Path]
) -> str:
    """The whole text.

    Args:
        verb: whose.
        cfg: composed; values may be missing.
        choices: of every group, as composed; None where a group is left out.
        typed: groups that were chosen on the command line; where there are some, only their keys are shown.
        folders: of YAMLs, searched in this order.
    """
    frame = _frame(verb)
    groups = [group for group in cfg_groups(verb) if group in choices]  # in the YAML's order
    shown = [group for group in groups if group in typed]
    parts = [str(frame["header"])]
    if not shown:
        parts += _first(verb, cfg)
        parts += _choices(groups, choices, folders)
        parts += ["== Keys with their defaults (key=value) ==", _root(verb), *_schema_only(verb, "", cfg, _root(verb))]
        shown = groups
    for group in shown:
        parts += _group(verb, group, choices[group], cfg, folders)
    if any(group in typed for group in groups):
        parts.append(f"All groups and keys: python src/{verb}.py --help")
    elif groups:
        parts.append(f"The keys of another choice: python src/{verb}.py {_example(groups)} --help")
    return "\n\n".join(part.strip("\n") for part in [*parts, str(frame["footer"])] if part.strip())


def _frame(verb: str) -> Mapping[str, Any]:
    frame = OmegaConf.load(conf_dir() / "hydra" / "help" / f"{verb}.yaml")
    assert isinstance(frame, DictConfig)
    return {"header": frame.header, "footer": frame.footer}


def _first(verb: str, cfg: DictConfig) -> Iterator[str]:
    if first := FIRST.get(verb):
        values = {key: _value(OmegaConf.select(cfg, key, throw_on_missing=False)) for key in first}
        lines = [f"{f'{key}={values[key]}':<32}  {text}" for key, text in first.items()]
        yield "== The keys that matter first =="
        yield "\n".join(lines)


def _choices(groups: Sequence[str], choices: Mapping[str, str | None], folders: Sequence[Path]) -> Iterator[str]:
    lines = []
    for group in groups:
        names = sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})
        chosen = choices[group]
        lines.append(f"{group}: {', '.join(names)}" + (f"   (default: {chosen})" if chosen else ""))
    if lines:
        yield "== Choices (group=choice) =="
        yield "\n".join(lines)


def _root(verb: str) -> str:
    """The verb's own YAML without what is Hydra's."""
    lines = (conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    kept, block = [], ""
    for line in lines:
        if found := re.match(r"(\w+):", line):
            block = found[1]
        if block not in _NOT_SHOWN and not (line.startswith("#") and not block):
            kept.append(line)
    return "\n".join(kept)


def _group(verb: str, group: str, choice: str | None, cfg: DictConfig, folders: Sequence[Path]) -> Iterator[str]:
    file = next((path for folder in folders if (path := folder / group / f"{choice}.yaml").is_file()), None)
    if choice is None or (file is None and group not in cfg):
        return
    heading = f"== {group}={choice} =="
    if file is None:  # from a search path of the user's
        yield f"{heading}\n\n{OmegaConf.to_yaml(OmegaConf.create({group: cfg[group]}))}"
        return
    text = _LISTED.sub(r"- # \1", file.read_text(encoding="utf-8"))
    text = "\n".join(line for line in text.splitlines() if "_target_:" not in line)
    if "@package _global_" in text:
        yield f"{heading}\n\n{text}"
        return
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    if keys := "\n".join(part for part in (body.strip("\n"), *_schema_only(verb, group, cfg, body)) if part.strip()):
        keys = f"{group}:\n{indent(keys, '  ')}"
    yield f"{heading}\n\n" + "\n".join(part for part in (head, keys) if part)


def _schema_only(verb: str, group: str, cfg: DictConfig, text: str) -> Iterator[str]:
    """Typed keys that the YAML leaves at their defaults."""
    kind = schema.SCHEMAS[verb]
    if group:
        field = next((field for field in dataclasses.fields(kind) if field.name == group), None)
        kind = getattr(schema, str(field.type), None) if field else None  # type: ignore[assignment]
    if kind is None or not dataclasses.is_dataclass(kind):
        return
    written = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    lines = []
    for line in inspect.getsource(kind).splitlines():
        found = _FIELD.match(line)
        if found is None or found[1] in written or found[1] in cfg_groups(verb):
            continue
        key = f"{group}.{found[1]}" if group else found[1]
        value = OmegaConf.select(cfg, key, throw_on_missing=False)
        if not isinstance(value, DictConfig):
            lines.append(f"{f'{found[1]}: {_value(value)}':<28}" + (f"  # {found[2]}" if found[2] else ""))
    if lines:
        yield "\n".join(line.rstrip() for line in lines)


def cfg_groups(verb: str) -> list[str]:
    """Names of the verb's groups, in the order of its YAML."""
    defaults = OmegaConf.select(OmegaConf.load(conf_dir() / f"{verb}.yaml"), "defaults")
    keys = [str(key) for entry in defaults if isinstance(entry, DictConfig) for key in entry]
    return [key for key in keys if not key.startswith("override ")]


def _value(value: object) -> str:
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    if plain is None or isinstance(plain, bool):
        return str(plain).lower().replace("none", "null")
    return "[" + ",".join(map(_value, plain)) + "]" if isinstance(plain, list) else str(plain)


def _example(groups: Sequence[str]) -> str:
    return {"data": "data=folder", "export": "export=int8"}.get(groups[0], f"{groups[0]}=…")
