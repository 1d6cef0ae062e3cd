"""Which images and videos are meant by ``input=``: a file, a folder, a glob, a list, or the lines of standard input."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from perpixel.data.files.walking import matching
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from perpixel.data.formats.video import VIDEO_SUFFIXES

LISTS = (".txt", ".lst")
_WILD = "*?["


class Input(NamedTuple):
    """An image or video file.

    Attributes:
        path: where it lies.
        name: of what is made of it: its path below what all inputs share, without suffix; "/" between folders.
    """

    path: Path
    name: str


def find_inputs(given: str | Sequence[str], output: Path) -> list[Input]:
    """The images that are meant, in a fixed order.

    Files of folders and globs whose ending is no picture's are left out; pictures in formats that are not read, and
    whatever is listed, are kept, to be answered by name.

    Args:
        given: a file; a folder, searched to any depth; a glob; a .txt that lists files, one a line, relative to it;
            several files; or ``-`` for lines of standard input.
        output: a folder within the input that is not searched.

    Raises:
        ValueError: nothing is there.
        OSError: a folder cannot be read.
    """
    if not isinstance(given, str):
        return _listed(map(str, given), Path())
    if given == "-":
        return _listed(sys.stdin, Path())
    path = Path(given).expanduser()
    if path.is_dir():
        return _nonempty(_named(_outside(output, _below(path), path), path), given)
    if path.is_file() and path.suffix.lower() in LISTS:
        return _listed(path.read_text(encoding="utf-8-sig").splitlines(), path.parent)
    if path.is_file():
        return _named([path], path.parent)
    if any(character in given for character in _WILD):
        root = _fixed_part(path)
        found = sorted(matching(root, path.relative_to(root).as_posix()))
        files = [file for file in found if file.is_file() and _is_picture(file)]
        return _nonempty(_named(_outside(output, files, root), root), given)
    raise ValueError(f"input={given} does not exist: give a file, a folder, a glob in quotes, a .txt list, or - .")


def shard_of(inputs: Sequence[Input], shard: str | None) -> list[Input]:
    """Every n-th input from the i-th on, of ``shard=i/n`` with i from 0.

    Raises:
        ValueError: the shard is not of that form.
    """
    if shard is None:
        return list(inputs)
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ValueError(f"shard={shard}: give its number from 0 and how many there are, as in shard=3/64.")
    return list(inputs[int(number) :: int(count)])


def _listed(lines: Iterable[str], base: Path) -> list[Input]:
    paths = list(dict.fromkeys(base / line.strip() for line in lines if line.strip()))
    if not paths:
        raise ValueError("input: the list names no file.")
    return _named(paths, Path(os.path.commonpath([path.absolute().parent for path in paths])))


def _named(paths: Sequence[Path], base: Path) -> list[Input]:
    """Where two names differ in their suffix only, they keep it."""
    base = base.absolute()
    below = [path.absolute().relative_to(base) for path in paths]
    plain = Counter(part.with_suffix("") for part in below)
    names = [part if plain[part.with_suffix("")] > 1 else part.with_suffix("") for part in below]
    return [Input(path, name.as_posix()) for path, name in zip(paths, names, strict=True)]


def _nonempty(found: list[Input], given: str) -> list[Input]:
    if not found:
        raise ValueError(
            f"input={given} holds no images or videos: their names end in {', '.join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}."
        )
    return found


def _below(root: Path) -> list[Path]:
    """Pictures at any depth but hidden ones; a folder that cannot be read is an error, not an empty one."""
    found = []
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(folder) / name for name in names if not name.startswith("."))
        found += sorted(file for file in files if _is_picture(file))
    return found


def _raise(error: OSError) -> None:
    raise error


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES + UNREAD_SUFFIXES + VIDEO_SUFFIXES


def _outside(output: Path, files: Sequence[Path], root: Path) -> list[Path]:
    """Without earlier results, where they are written to a folder below the images."""
    output = output.absolute()
    below = output.is_relative_to(root.absolute())
    return [file for file in files if not (below and file.absolute().is_relative_to(output))]


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    parts = pattern.parts[:-1]
    wild = (place for place, part in enumerate(parts) if any(character in part for character in _WILD))
    return Path(*parts[: next(wild, len(parts))])
