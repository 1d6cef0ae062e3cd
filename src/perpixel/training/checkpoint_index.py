"""The list of a run's checkpoints, with their SHA-256; where it is gone or damaged the files make it anew."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from perpixel.tracking.files import write_atomically
from perpixel.tracking.manifest import now

log = logging.getLogger(__name__)

INDEX_FILE = "checkpoints.json"
OURS = re.compile(r"(state|best)-(\d{8,})(-\d+)?\.ckpt")
"""What checkpoints are called; a file with another name is its owner's, and is left alone."""

Kind = Literal["state", "best"]


@dataclass(frozen=True)
class Entry:
    """One checkpoint of the ledger.

    Attributes:
        file: its name in the directory.
        kind: "state" is all that training needs to go on; "best" only the weights that are evaluated.
        step: optimiser steps behind it.
        sha256: of the file's bytes.
        bytes: its size.
        written: when, ISO 8601.
        score: of "best": the monitored score.
    """

    file: str
    kind: Kind
    step: int
    sha256: str
    bytes: int
    written: str
    score: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not OURS.fullmatch(self.file):
            raise ValueError(f"'{self.file}' is no checkpoint's name")  # it could have us read or delete anything
        if not all(isinstance(number, int) for number in (self.step, self.bytes)):
            raise ValueError(f"'{self.file}' has no step or size")

    def fault(self, path: Path) -> str | None:
        """In what a file is not the one that was listed; None if it is."""
        if not path.is_file():
            return "it is missing"
        if (size := path.stat().st_size) != self.bytes:
            return f"{size} bytes instead of {self.bytes}"
        return None if _sha256(path) == self.sha256 else "its SHA-256 is not the one in the list"


class CheckpointIndex:
    """``checkpoints.json``: a directory's checkpoints in the order they were written.

    Args:
        directory: that of the checkpoints; it need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / INDEX_FILE

    def read(self) -> list[Entry]:
        """What is listed, oldest first; in a warning, that there is no list or none that makes sense."""
        if not self.path.is_file():
            found = self._rebuilt()
            if found:
                log.warning("the list of checkpoints '%s' is missing: it is made anew from the files", self.path)
            return found
        try:
            return self._listed()
        except (ValueError, TypeError, RecursionError) as error:
            told = "the list of checkpoints '%s' is damaged (%s): it is made anew from the files"
            log.warning(told, self.path, error)
            return self._rebuilt()

    def write(self, entries: Iterable[Entry]) -> None:
        """Replace the list, as a whole."""
        write_atomically(self.path, json.dumps([asdict(entry) for entry in entries], indent=1) + "\n")

    def exists(self) -> bool:
        """Whether there is one that makes sense."""
        try:
            self._listed()
        except (OSError, ValueError, TypeError, RecursionError):
            return False
        return True

    def files(self) -> Iterator[Path]:
        """The directory's files that are named as checkpoints, listed or not."""
        return (path for path in self.directory.glob("*.ckpt") if OURS.fullmatch(path.name))

    def _listed(self) -> list[Entry]:
        listed = json.loads(self.path.read_text(encoding="utf-8"))
        if not isinstance(listed, list):
            raise TypeError("it is no list")
        return [Entry(**entry) for entry in listed]

    def _rebuilt(self) -> list[Entry]:
        """Without the list, the files' own CRC-32 sums tell which are intact."""
        entries = (_entry_of(path) for path in self.files() if _is_whole_archive(path))
        return sorted(entries, key=lambda entry: (entry.step, entry.file))


def _entry_of(path: Path) -> Entry:
    named = OURS.fullmatch(path.name)
    assert named is not None
    return Entry(path.name, cast(Kind, named[1]), int(named[2]), _sha256(path), path.stat().st_size, now())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False
