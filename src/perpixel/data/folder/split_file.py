"""A drawn division, kept in a file together with the rule that drew it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perpixel.data.files.file_cache import write_whole
from perpixel.data.files.inspection import SHOWN
from perpixel.data.files.pairs import Pair
from perpixel.data.formats.texts import composed, read_text

Parts = dict[str, list[str]]
"""Keys of ``train``, ``val`` and ``test``; of a cross-validation, of ``fold0``, ``fold1``, … and ``test``."""

_RULE = "rule"


def kept_draw(path: Path, rule: Mapping[str, Any], pairs: Mapping[str, Pair], draw: Callable[[], Parts]) -> Parts:
    """The division in a file; where there is no such file yet, one is drawn and written, whole or not at all.

    A file without a rule was written by hand: it may leave samples out, and names them as their keys or as runs do.

    Args:
        path: JSON of lists of keys by part, and under ``rule`` what they were drawn by.
        rule: ends of ``data.source.`` keys and their values: all that the draw depends on besides the pairs.
        pairs: by key, with their groups.
        draw: gives the parts.

    Raises:
        ValueError: the file was drawn by another rule, or does not fit the pairs; says which keys, and the mend.
    """
    if not path.exists():
        write_whole(path, (json.dumps({_RULE: dict(rule), **draw()}, indent=1) + "\n").encode())
    saved = _loaded(path)
    drawn_by = saved.pop(_RULE, None)
    if drawn_by is not None:
        _refuse_other_rule(path, drawn_by, rule)
    keys = {pair.name: key for key, pair in pairs.items()} | {key: key for key in pairs}
    _refuse_gone(path, [name for part in saved.values() for name in part if name not in keys])
    parts = {part: [keys[name] for name in names] for part, names in saved.items()}
    _refuse_two_places(path, parts, pairs)
    if drawn_by is not None:
        placed = {key for part in parts.values() for key in part}
        _refuse_new(path, [key for key in pairs if key not in placed])
    return parts


def _loaded(path: Path) -> dict[str, Any]:
    text = read_text(path, "split file", "data.source.split_file")
    try:
        saved = json.loads(text)
        lists = [value for name, value in saved.items() if name != _RULE]
    except (ValueError, AttributeError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"the split file '{path}' is no JSON of lists of keys ({error}): {_anew('mend it, or remove it')}."
        ) from None
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise ValueError(f"the split file '{path}' must hold lists of keys: {_anew('mend it, or remove it')}.")
    return {part: value if part == _RULE else list(map(composed, value)) for part, value in saved.items()}


def _anew(otherwise: str) -> str:
    return f"{otherwise} to draw anew, or name another data.source.split_file"


def _refuse_other_rule(path: Path, drawn_by: Mapping[str, Any], rule: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(dict(rule)))
    other = [name for name in now if now[name] != drawn_by.get(name)]
    if other:
        raise ValueError(
            f"the split file '{path}' was drawn with "
            + ", ".join(f"data.source.{name}={json.dumps(drawn_by.get(name))}" for name in other)
            + f", not {', '.join(json.dumps(now[name]) for name in other)}: set it back, "
            + f"{_anew('or remove the file')}."
        )


def _refuse_gone(path: Path, gone: Sequence[str]) -> None:
    if gone:
        raise ValueError(
            f"the split file '{path}' names {len(gone)} samples that are not there, first: {_first(gone)}. "
            f"Bring them back, {_anew('or remove the file')}."
        )


def _refuse_two_places(path: Path, parts: Parts, pairs: Mapping[str, Pair]) -> None:
    """A key stands once, and a group in one part."""
    part_of_group: dict[str, str] = {}
    seen: set[str] = set()
    for part, keys in parts.items():
        for key in keys:
            if key in seen:
                raise ValueError(f"the split file '{path}' names '{key}' twice: a sample has one place.")
            seen.add(key)
            group = pairs[key].group
            if group and part_of_group.setdefault(group, part) != part:
                raise ValueError(
                    f"by the split file '{path}' the group '{group}' (data.source.group_by) stands in "
                    f"{part_of_group[group]} and in {part}: {_anew('mend it, or remove it')}."
                )


def _refuse_new(path: Path, new: Sequence[str]) -> None:
    if new:
        raise ValueError(
            f"{len(new)} samples have joined the data since the split file '{path}' was drawn, first: {_first(new)}. "
            f"Write their keys into it, take them away, {_anew('or remove the file')}."
        )


def _first(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys[:SHOWN]))
