"""What is known of each sample by its key: its group, the weather, the camera."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

from perpixel.data.files.inspection import SHOWN
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES, MASK_SUFFIXES
from perpixel.data.formats.texts import composed, read_text

_FILES = frozenset((*IMAGE_SUFFIXES, *MASK_SUFFIXES, ".json"))
_TABLE = re.compile(r"(.*\.csv)(?::(.*))?", re.IGNORECASE | re.DOTALL)


class Table(NamedTuple):
    """A CSV and the column that is meant, empty where a rule names none."""

    file: str
    column: str


def table_of(rule: str) -> Table | None:
    """The table that a rule names, as ``meta.csv`` or ``meta.csv:patient``; None for patterns."""
    named = _TABLE.fullmatch(rule)
    return Table(named[1], named[2] or "") if named else None


def property_of(keys: Iterable[str], root: Path, rule: str, column: str, where: str) -> dict[str, str]:
    """A property's value for each key.

    Args:
        keys: of the samples.
        root: folder that a CSV is relative to.
        rule: a pattern searched in the key (its first group, or all that matches), or a CSV with the columns ``key``
            and ``column`` (``meta.csv:patient`` names another column).
        column: of the CSV.
        where: config key that the rule came from, for errors.

    Raises:
        ValueError: the CSV is missing or lacks a column, the pattern is none, or keys have no value.
    """
    if named := table_of(rule):
        table = _table(root / named.file, named.column or column, where)
        found = {key: table.get(key, table.get(_stem(key), "")) for key in keys}
    else:
        _refuse_file(root, rule, where)
        pattern = _pattern(rule, where)
        matches = {key: pattern.search(key) for key in keys}
        found = {key: (match.group(pattern.groups and 1) or "") if match else "" for key, match in matches.items()}
    without = [key for key, value in found.items() if not value]
    if without:
        raise ValueError(
            f"{len(without)} samples have no {column} by {where}={rule!r}, first: "
            f"{', '.join(map(repr, without[:SHOWN]))}."
        )
    return found


def _refuse_file(root: Path, rule: str, where: str) -> None:
    """A table by another name would be searched for in the keys, as a pattern."""
    path = root / rule.partition(":")[0]
    try:
        is_file = bool(path.suffix) and path.is_file()
    except OSError:  # a pattern longer than a file's name may be
        return
    if is_file:
        raise ValueError(
            f"{where}={rule!r} names the file '{path}', but tables end in .csv: save it as one, with commas between "
            "the columns, or rename it."
        )


def _pattern(rule: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(composed(rule))
    except re.error as error:
        raise ValueError(
            f"{where}={rule!r} is no regular expression ({error}), and no CSV (key,value) either."
        ) from None


def _table(path: Path, column: str, where: str) -> dict[str, str]:
    columns, *rows = _lines(path, where) or [[]]
    if not {"key", column} <= set(columns):
        other = next(
            (f" Are they separated by {mark!r}? Use commas." for mark in ";\t" if mark in "".join(columns)), ""
        )
        raise ValueError(f"'{path}' needs the columns key and {column}, but has {', '.join(columns)}.{other}")
    known = [dict(zip(columns, chain(row, repeat("")), strict=False)) for row in rows]
    return _by_key(path, [(composed(row["key"]), row[column]) for row in known])


def _lines(path: Path, where: str) -> list[list[str]]:
    """The cells of each line that has any, without the spaces that people put behind commas."""
    reader = csv.reader(io.StringIO(read_text(path, "table", where), newline=""), skipinitialspace=True)
    try:
        return [[cell.strip() for cell in line] for line in reader if line]
    except csv.Error as error:
        raise ValueError(
            f"the table '{path}' cannot be read from line {reader.line_num} on ({error}): close each quote that is "
            f"opened, and leave columns of long texts out. (See {where}.)"
        ) from None


def _by_key(path: Path, rows: list[tuple[str, str]]) -> dict[str, str]:
    """Values by the key as it is written, and by the key without a file's suffix where nobody else has that one."""
    exact: dict[str, str] = {}
    short: dict[str, set[str]] = {}
    for key, value in rows:
        if key in exact:
            raise ValueError(f"'{path}' has the key '{key}' twice: give each sample one row.")
        exact[key] = value
        short.setdefault(_stem(key), set()).add(value)
    both = [key for key, values in short.items() if len(values) > 1 and key not in exact]
    if both:
        raise ValueError(
            f"'{path}' gives several values to the key '{both[0]}' (as {', '.join(_written(exact, both[0]))}): "
            "give each sample one row."
        )
    return {key: next(iter(values)) for key, values in short.items() if key not in exact} | exact


def _written(keys: Iterable[str], stem: str) -> list[str]:
    return [key for key in keys if _stem(key) == stem]


def _stem(key: str) -> str:
    return Path(key).with_suffix("").as_posix() if Path(key).suffix.lower() in _FILES else key
