"""Content hashes: what was trained on, in 64 hex digits."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path


def digest(*parts: str) -> str:
    """SHA-256 (hex) of a sequence of strings; where one ends and the next begins counts."""
    total = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        total.update(len(encoded).to_bytes(8, "big"))
        total.update(encoded)
    return total.hexdigest()


def refuse_changed_data(
    now: Mapping[str, str], then: Mapping[str, str], allowed: bool, left_out: Collection[str] = ()
) -> None:
    """Numbers on other data than a run was trained and chosen on would be compared with its own.

    Args:
        now: fingerprints by split.
        then: the run's, from its manifest.
        allowed: whether the user said that the change is meant.
        left_out: faults of the pairs that the run had and that are left out now.

    Raises:
        ValueError: a split that both know differs, and that was not allowed.
    """
    changed = [name for name in now if name in then and now[name] != then[name]]
    if changed and not allowed:
        mend = (
            f"data.on_bad_file=skip leaves out {len(left_out)} faulty pairs that the run had, which alone changes the "
            "hash: mend them"
            if left_out
            else "Restore the files"
        )
        raise ValueError(
            f"the data of this run has changed since it was trained: the split {' and '.join(map(repr, changed))} has "
            f"another content hash ({now[changed[0]][:12]}… instead of {then[changed[0]][:12]}…). {mend}, or "
            "say that it is meant with data.allow_changed=true."
        )


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; read again only when its size or time of change differ."""
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 20)
def _file_digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
