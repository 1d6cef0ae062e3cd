"""What was computed about files once, kept in the user's cache folder until the files change.

Hashing or checking a hundred thousand files takes minutes; asking for their sizes and times takes a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from perpixel.data.hashing import digest

SCHEMA = 11
"""Raised whenever what is kept, or how it is found out, changes: nothing that an older perpixel kept counts then."""


def stamp(paths: Iterable[Path]) -> str:
    """Changes when a file comes, goes, moves, or is written to.

    By size, inode and both times in nanoseconds: a tool may set the time of writing back, but not that of change.
    """
    return digest(*(f"{path} {state_of(path)}" for path in paths))


def state_of(path: Path) -> tuple[int, int, int, int]:
    """What changes when a file is written to or replaced."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def remembered(kind: str, key: str, compute: Callable[[], str], keep: Callable[[], bool] = lambda: True) -> str:
    """The text that ``compute`` gave for (kind, key) before, or gives now.

    Only what follows from the files' contents may be remembered: a fault may be the moment's (a mount, a permission);
    ``keep`` is asked after ``compute``.

    Several processes may ask at once: an entry appears whole, by renaming. One that a power failure cut short shows it
    by its digest, and is computed anew. Where the cache folder cannot be written to, nothing is kept.
    """
    entry = cache_folder() / f"{kind}-{SCHEMA}-{key}"
    with suppress(OSError, ValueError):
        return _whole(entry.read_text(encoding="utf-8"))
    text = compute()
    with suppress(OSError):
        if keep():
            write_whole(entry, f"{digest(text)}\n{text}".encode())
    return text


def _whole(kept: str) -> str:
    mark, _, text = kept.partition("\n")
    if mark != digest(text):
        raise ValueError("this is a part of what was kept")
    return text


def write_whole(path: Path, *parts: Any) -> None:
    """Write a file so that others see all of it or none.

    It is as readable as any new file: what ``tempfile`` makes would be its owner's alone, and a team shares its splits.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"tmp{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.writelines(parts)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(path)


def cache_folder() -> Path:
    """The user's cache folder for data."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "perpixel" / "data"
