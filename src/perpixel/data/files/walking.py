"""What lies below a folder, symbolic links followed: a data set is often put together from folders that lie elsewhere.

``Path.rglob`` and ``os.walk`` leave linked folders out without a word. Hidden files, whose name or folder begins with a
dot, are no data: macOS puts a ``._a.jpg`` beside each ``a.jpg`` that it copies, notebooks keep ``.ipynb_checkpoints``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

Identity = tuple[int, int]


def folders_below(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and all below it, each with the names of its files.

    A link back to a folder that it lies in would have no end, and is not followed; two links to one folder are two
    folders.
    """
    around: dict[Path, frozenset[Identity]] = {}
    for path, folders, names in os.walk(root, followlinks=True):
        folder = Path(path)
        here = around.pop(folder, frozenset()) | {_identity(folder)}
        folders[:] = [name for name in folders if _identity(folder / name) not in here]
        around |= {folder / name: here for name in folders}
        yield folder, names


def files_below(root: Path) -> Iterator[Path]:
    """All files at any depth but hidden ones."""
    return (
        folder / name
        for folder, names in folders_below(root)
        if not _hidden(folder.relative_to(root))
        for name in names
        if not name.startswith(".")
    )


def matching(root: Path, pattern: str) -> set[Path]:
    """What a glob finds; its ``**`` stands for folders at any depth, what is hidden needs its dot in the pattern."""
    dotted = [part for part in PurePosixPath(pattern).parts if part.startswith(".")]
    return {path for path in _matching(root, pattern) if not _hidden(path.relative_to(root), dotted)}


def _hidden(path: Path, named: Sequence[str] = ()) -> bool:
    return any(part.startswith(".") and not any(fnmatchcase(part, one) for one in named) for part in path.parts)


def _matching(root: Path, pattern: str) -> set[Path]:
    parts = PurePosixPath(pattern).parts
    if "**" not in parts:
        return set(root.glob(pattern))
    place = parts.index("**")
    starts = root.glob("/".join(parts[:place])) if place else [root]
    rest = "/".join(parts[place + 1 :]) or "*"
    return {path for start in starts for folder, _ in folders_below(start) for path in _matching(folder, rest)}


def _identity(folder: Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino
