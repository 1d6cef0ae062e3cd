"""Checkpoints on disk: written whole, listed, kept as long as they are of use; the newest intact one is found."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.types import _PATH

from perpixel.config.errors import UserFacingError
from perpixel.tracking.files import PARTIAL, make_directory, replacing
from perpixel.tracking.manifest import now
from perpixel.training.checkpoint_index import INDEX_FILE, OURS, CheckpointIndex, Entry, Kind

log = logging.getLogger(__name__)

_PARTIAL = re.compile(rf"{re.escape(PARTIAL)}({OURS.pattern}|{re.escape(INDEX_FILE)})\.[0-9a-f]+")


class CheckpointError(UserFacingError):
    """A checkpoint could not be written or read; the message says where and what to do."""


class CheckpointStore:
    """The checkpoints of a run: ``checkpoints.json`` lists them in the order they were written.

    A file counts once it is listed: it is written under a temporary name, reaches the disk, is renamed, and only then
    enters the ledger (itself replaced in the same way). So whatever moment the process dies at, what the ledger lists
    is whole; and a byte that changes later is found by its SHA-256.

    Args:
        directory: made when the first checkpoint is written.
        keep: how many of each kind stay; 2 or more, so that a damaged one has a predecessor.
    """

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory = directory
        self.keep = keep
        self._ledger = CheckpointIndex(directory)

    def entries(self, kind: Kind) -> list[Entry]:
        """What the ledger lists, oldest first."""
        return _of_kind(self._ledger.read(), kind)

    def write(self, kind: Kind, content: Mapping[str, Any], step: int, score: float | None = None) -> Path:
        """Write, list, and let go of what is superseded.

        Raises:
            CheckpointError: the disk is full or cannot be written to; earlier checkpoints are intact.
        """
        try:
            make_directory(self.directory)
            listed, path = self._ledger.read(), self._free_name(kind, step)
            with replacing(path) as file:
                hashing = _Hashing(file)
                torch.save(dict(content), cast(BinaryIO, hashing))
            entry = Entry(path.name, kind, step, hashing.hexdigest(), hashing.size, now(), score)
            self._keep_newest([*listed, entry])
        except (OSError, RuntimeError) as error:  # torch's writer turns an OSError of its file into a RuntimeError
            raise self._not_written(error) from error
        return path

    def newest_valid(self, kind: Kind, without: Collection[str] = ()) -> tuple[Path, Entry] | None:
        """The newest intact checkpoint; each damaged one is named in a warning. None where there is none.

        Args:
            kind: of which kind.
            without: names of files that are not wanted.
        """
        damaged = False
        for entry in reversed([entry for entry in self.entries(kind) if entry.file not in without]):
            path = self.directory / entry.file
            if (fault := entry.fault(path)) is None:
                if damaged:
                    log.warning("the one before is used: '%s'", path)
                return path, entry
            log.warning("checkpoint '%s' is damaged (%s)", path, fault)
            damaged = True
        return None

    def to_go_on_from(self, without: Collection[str] = ()) -> tuple[Path, Entry] | None:
        """The newest intact state; None where none was ever written, and training starts from the beginning.

        Raises:
            CheckpointError: there were states, and all of them are damaged.
        """
        found = self.newest_valid("state", without)
        if found is None and (files := self._files("state")):
            raise CheckpointError(
                f"every state that this run could go on from is damaged or missing: "
                f"{', '.join(str(self.directory / file) for file in files)}. Put them back from a copy; or remove "
                f"'{self.directory}', and resume={self.directory.parent} trains from the beginning."
            )
        return found

    def _files(self, kind: Kind) -> list[str]:
        """Names of the checkpoints that are listed; those on the disk where there is no list."""
        listed = [entry.file for entry in self.entries(kind)]
        if listed or self._ledger.exists():
            return listed
        return sorted(path.name for path in self._ledger.files() if path.name.startswith(kind))

    def drop(self, entry: Entry) -> None:
        """Let go of a checkpoint that is not worth going back to."""
        self._ledger.write(other for other in self._ledger.read() if other != entry)
        (self.directory / entry.file).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Delete what a killed process left: files half written, and whole ones that never entered the ledger.

        Where the ledger itself is gone or damaged no whole one is deleted, and it is written anew; unless all files of
        a kind are damaged, for then it would say that there never were any. Files that are not named as checkpoints are
        never deleted.
        """
        is_known, listed = self._ledger.exists(), self._ledger.read()
        kinds = {path.name.partition("-")[0] for path in self._ledger.files()}
        if listed and not is_known and kinds == {entry.kind for entry in listed}:
            self._ledger.write(listed)
        names = {entry.file for entry in listed}
        for path in self._ledger.files() if is_known else ():
            if path.name not in names:
                path.unlink()
        for path in self.directory.glob(f"{PARTIAL}*"):
            if _PARTIAL.fullmatch(path.name):
                path.unlink()

    def _free_name(self, kind: Kind, step: int) -> Path:
        """A name of its own for every checkpoint: overwriting one would leave a moment without it."""
        names = (f"{kind}-{step:08d}{suffix}.ckpt" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
        return next(path for name in names if not (path := self.directory / name).exists())

    def _keep_newest(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        kept = {entry.file for kind in ("state", "best") for entry in _of_kind(entries, kind)[-self.keep :]}
        self._ledger.write(entry for entry in entries if entry.file in kept)
        for entry in entries:
            if entry.file not in kept:
                (self.directory / entry.file).unlink(missing_ok=True)

    def _not_written(self, error: Exception) -> CheckpointError:
        cause = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(cause, "strerror", None) or str(cause)
        return CheckpointError(
            f"no checkpoint could be written to '{self.directory}': {reason}. Earlier checkpoints there are intact. "
            f"Make room or give write access, then go on with resume={self.directory.parent}."
        )


class StoreIO(CheckpointIO):
    """Lightning's door to the store: every ``trainer.save_checkpoint`` goes through it, on rank 0."""

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None) -> None:
        """The store names the file; ``path`` is not used."""
        self.store.write("state", checkpoint, checkpoint["global_step"])

    def load_checkpoint(self, path: _PATH, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Tensors and plain containers only: a checkpoint cannot run code."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: _PATH) -> None:
        """The store alone decides what goes."""


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        self.size += len(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _of_kind(entries: Iterable[Entry], kind: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == kind]
