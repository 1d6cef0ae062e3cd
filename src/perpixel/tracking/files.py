"""Files that must be whole whenever somebody reads them, and directories that only one process may use at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

PARTIAL = ".partial-"
"""How the names of files begin that are being written; what a killed process leaves can be deleted."""

IN_USE = ".in_use"
_HELD: set[Path] = set()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, shared by processes of all machines whose file system passes on ``flock``.

    Whoever reads and rewrites under this lock never replaces a newer picture of the sweep by an older one.
    """
    with (directory / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file releases the lock, also when the process dies


@contextmanager
def in_use(directory: Path, by: str = IN_USE) -> Iterator[None]:
    """Have a directory for this process alone, until the block ends or the process dies, however it dies.

    A POSIX record lock: child processes (data workers, ranks) do not inherit it, so it never outlives its owner.

    Args:
        directory: exists.
        by: name of the file that is locked; each is a lock of its own.

    Raises:
        ValueError: another process has the directory.
    """
    key = directory.resolve() / by
    if key in _HELD:  # record locks do not keep out their own process, and closing the file would give it up
        raise _refusal(directory, "this process")
    with (directory / by).open("a+") as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise _refusal(directory, owner(directory, by)) from None
        _HELD.add(key)
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {os.uname().nodename}")
        handle.flush()
        try:
            yield
        finally:
            _HELD.remove(key)


def is_in_use(directory: Path) -> bool:
    """Whether some process has the directory; True where the file system cannot tell."""
    if directory.resolve() / IN_USE in _HELD:
        return True
    try:
        with (directory / IN_USE).open("r+") as handle:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _refusal(directory: Path, owner: str) -> ValueError:
    return ValueError(
        f"'{directory}' is in use by {owner}: two trainings cannot share a run directory. "
        f"Wait for it, stop it, or choose another directory."
    )


def owner(directory: Path, by: str = IN_USE) -> str:
    """Who has the directory, or had it last, in words."""
    return (directory / by).read_text(encoding="utf-8", errors="replace")[:200] or "another process"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A full disk is told without a name by the system; the error gets the file's."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file so that a reader finds the old one or the new one, never a part, even after a power failure.

    The bytes go to a temporary name in the same directory (a rename must not cross file systems), reach the disk, and
    take the name; then the directory itself reaches the disk. If the block fails the old file is untouched.
    """
    temporary = path.with_name(f"{PARTIAL}{path.name}.{uuid4().hex}")
    try:
        with naming(path), temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the reason for the failure is what matters
            temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder, or into what would hold it; empty where it can."""
    try:
        tempfile.TemporaryFile(dir=nearest(folder)).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it, where they are missing; they are there after a power failure, too."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8), see ``replacing``."""
    with replacing(path) as file:
        file.write(text.encode())
