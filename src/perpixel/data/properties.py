"""What is known of each sample by its key: its group, the weather, the camera."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from perpixel.data.inspection import SHOWN


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
        found = {key: table.get(key, "") for key in keys}
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
    if not path.is_file():
        raise ValueError(f"the table '{path}' does not exist: see {where}.")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"key", column} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"'{path}' needs the columns key and {column}, but has {', '.join(reader.fieldnames or ())}."
            )
        return {Path(row["key"]).with_suffix("").as_posix(): row[column] for row in reader}
