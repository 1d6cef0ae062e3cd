"""Content hashes: what was trained on, in 64 hex digits."""

from __future__ import annotations

import hashlib
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


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; read again only when its size or time of change differ."""
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 20)
def _file_digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
