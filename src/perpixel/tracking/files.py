"""Files that several jobs of a sweep may write at the same moment."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, shared by processes of all machines whose file system passes on ``flock``.

    Whoever reads and rewrites under this lock never replaces a newer picture of the sweep by an older one.
    """
    with (directory / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file releases the lock, also when the process dies


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8) so that a reader finds the old file or the new one, never a part."""
    temporary = path.with_name(
        f".{path.name}.{uuid4().hex}"
    )  # the same directory: a rename must not cross file systems
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
