"""Which files make which pairs of which split, found once and kept until a folder changes.

Listing, matching and dividing a million files takes a minute; asking a thousand folders whether files came or went
takes milliseconds. (What is *in* the files is another question: see ``PairTable.stamp``.)
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from perpixel.data.base import SplitName
from perpixel.data.files.file_cache import SCHEMA, cache_folder, write_whole
from perpixel.data.files.pairs import Pair
from perpixel.data.files.table import PairTable
from perpixel.data.files.walking import folders_below
from perpixel.data.folder.properties import table_of
from perpixel.data.hashing import digest
from perpixel.data.unused import Unused

Times = dict[str, list[int]]

_TICK = 2_000_000_000
"""Nanoseconds within which a folder may change twice and show one time, on the coarsest file system (FAT)."""


class Division(NamedTuple):
    """Pairs by split, and what lay among them and is used for nothing."""

    splits: Mapping[SplitName, Sequence[Pair]]
    unused: tuple[Unused, ...] = ()


def remembered_pairs(
    rules: str, folders: Iterable[Path], files: Iterable[Path], find: Callable[[], Division]
) -> Division:
    """What ``find`` gave for these rules before, or gives now.

    It counts as unchanged while no folder, at any depth and behind links, has got or lost an entry (they show it by
    their time of change) and the given files have their size and time of change.

    Args:
        rules: all that the pairs depend on besides the file system.
        folders: where files are looked for.
        files: what else is read (lists, tables); those that do not exist count as such.
        find: gives the pairs of each split.

    Returns:
        Pairs as tables, mapped from the user's cache folder where that can be written to.
    """
    note = cache_folder() / "pairs" / f"{digest(str(SCHEMA), rules)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _known(note)
    start = time.time_ns()
    watched = {str(folder) for root in folders for folder, _ in folders_below(root)}
    before = _times(watched)
    found = find()
    splits = {name: PairTable.of(pairs) for name, pairs in found.splits.items()}
    division = found._replace(splits=splits)
    around = {
        os.fsdecode(path.rpartition(b"/")[0]) for table in splits.values() for path in table.files()
    }  # links' too
    times = before | _times(around - watched)
    if any(changed > start - _TICK for _, changed in times.values()):
        return division
    with suppress(OSError):
        return _keep(note, times | _times(map(str, files)), splits, found.unused)
    return division


def searched_folders(root: Path, searched: Iterable[str]) -> list[Path]:
    """The folders of files that are given as folder, glob or single file."""
    single = {where: (root / where).is_file() for where in searched}
    return [root if "*" in where else (root / where).parent if file else root / where for where, file in single.items()]


def read_files(root: Path, rules: Iterable[str | None]) -> list[Path]:
    """Files that rules name; a pattern names none, and is taken for a file that does not exist."""
    return [root / (table.file if (table := table_of(rule)) else rule) for rule in rules if rule]


def _known(note: Path) -> Division:
    kept = json.loads(note.read_text(encoding="utf-8"))
    if _times(kept["times"]) != kept["times"]:
        raise ValueError("something has changed")
    return _mapped(note, kept)


def _mapped(note: Path, kept: Mapping[str, Any]) -> Division:
    splits = {name: PairTable.mapped(note.parent / file) for name, file in kept["splits"].items()}
    return Division(splits, tuple(Unused(why, total, tuple(first)) for why, total, first in kept["unused"]))


def _keep(note: Path, times: Times, splits: Mapping[SplitName, PairTable], unused: Sequence[Unused]) -> Division:
    files = {name: f"{table.key}.table" for name, table in splits.items()}
    for name, file in files.items():
        splits[name].save(note.parent / file)
    kept = {"times": times, "splits": files, "unused": unused}
    write_whole(note, json.dumps(kept).encode())
    return _mapped(note, kept)


def _times(paths: Iterable[str]) -> Times:
    """Size and time of change; zeros for what does not exist. A folder's size says nothing."""
    found: Times = {}
    for path in map(Path, paths):
        try:
            state = path.stat()
        except FileNotFoundError:
            found[str(path)] = [0, 0]
        else:
            found[str(path)] = [0 if path.is_dir() else state.st_size, state.st_mtime_ns]
    return found
