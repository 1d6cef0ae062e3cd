"""What is known of each sample by its key: its group, the weather, the camera."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from perpixel.data.decode import IMAGE_SUFFIXES, MASK_SUFFIXES
from perpixel.data.inspection import SHOWN
from perpixel.data.texts import read_text

_FILES = frozenset((*IMAGE_SUFFIXES, *MASK_SUFFIXES, ".json"))


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
    file, is_table, own_column = rule.partition(".csv")
    if is_table:
        table = _table(root / f"{file}.csv", own_column.removeprefix(":") or column, where)
        found = {key: table.get(key, table.get(_stem(key), "")) for key in keys}
    else:
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


def _pattern(rule: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(rule)
    except re.error as error:
        raise ValueError(
            f"{where}={rule!r} is no regular expression ({error}), and no CSV (key,value) either."
        ) from None


def _table(path: Path, column: str, where: str) -> dict[str, str]:
    reader = csv.DictReader(io.StringIO(read_text(path, "table", where), newline=""))
    columns = reader.fieldnames or ()
    if not {"key", column} <= set(columns):
        other = next(
            (f" Are they separated by {mark!r}? Use commas." for mark in ";\t" if mark in "".join(columns)), ""
        )
        raise ValueError(f"'{path}' needs the columns key and {column}, but has {', '.join(columns)}.{other}")
    return _by_key(path, [(row["key"] or "", row[column] or "") for row in reader])


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
