"""Which samples a run was trained, judged and tested on, kept in the run."""

from __future__ import annotations

import json
from pathlib import Path

from perpixel.data.base import DataSource
from perpixel.data.files.file_cache import write_whole
from perpixel.data.files.pairs import Pair
from perpixel.data.files.source import FileSplit


def write_splits(source: DataSource, path: Path) -> None:
    """Write the names of each drawn split; as ``data.source.split_file``, the file gives another run the same splits.

    Sources whose splits are given (by lists, folders or a publisher) need none, and none is written.

    Args:
        source: the data of a run.
        path: of the JSON: lists of names by split.
    """
    if not source.drawn:
        return
    splits = {name: source.split(name) for name in source.splits}
    names = {
        name: list(dict.fromkeys(_whole_name(pair) for pair in split.pairs))
        for name, split in splits.items()
        if isinstance(split, FileSplit)
    }
    write_whole(path, (json.dumps(names, indent=1) + "\n").encode())


def _whole_name(pair: Pair) -> str:
    """Of the files, of which a tile is a part."""
    return pair.name if pair.window is None else pair.name.removesuffix(f"_r{pair.window.top}c{pair.window.left}")
