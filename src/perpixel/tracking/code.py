"""Which code a run was trained by: its sources, not its commit, so uncommitted changes count and a README does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from perpixel.config.objects import PLUGINS


@cache
def code_digest() -> str:
    """SHA-256 (16 hex digits) of the Python files of perpixel, its street scenes and the admitted plug-ins."""
    total = hashlib.sha256()
    for package in sorted({"perpixel", "perpixel_scenes"} | PLUGINS):
        for name, content in _sources(package):
            total.update(f"{name}\0{len(content)}\0".encode())
            total.update(content)
    return total.hexdigest()[:16]


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).rglob("*.py")):
            yield f"{package}/{path.relative_to(place).as_posix()}", path.read_bytes()
