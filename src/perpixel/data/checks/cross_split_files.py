"""Before training: do two splits share a file, or copies of one?

Leaks that only pixels or a likeness reveal (``perpixel.data.checks.leaks``) need every image decoded: the audit finds
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from perpixel.data.base import DataSource, SplitName
from perpixel.data.checks.leaks import Leak, Print, find_leaks
from perpixel.data.files.file_cache import remembered
from perpixel.data.files.source import FileSplit
from perpixel.data.hashing import digest, file_digest

SHOWN = 3
"""How many shared samples a warning names."""


def shared_samples(source: DataSource) -> list[Leak]:
    """Images of different splits that are one file, or files of equal bytes; looked at once for unchanged files.

    It comes behind the fingerprints, which have read the same files: then it reads none.
    """
    files = {name: split for name in source.splits if isinstance(split := source.split(name), FileSplit)}
    key = digest(*(f"{name} {split.pairs.stamp()}" for name, split in files.items()))

    def find() -> str:
        return json.dumps([leak for leak in find_leaks(source, _prints(files)) if leak.kind != "group"])

    return [
        Leak(kind, (*first,), (*second,), pairs)
        for kind, first, second, pairs in json.loads(remembered("shared", key, find))
    ]


def warning_of(leaks: Sequence[Leak]) -> str:
    """What to say of samples that stand in two splits."""
    named = "; ".join(
        f"'{one.first[1]}' of {one.first[0]} is '{one.second[1]}' of {one.second[0]}" for one in leaks[:SHOWN]
    )
    total = sum(leak.pairs for leak in leaks)
    return (
        f"the splits share images, {total} pairs of samples in all: {named}{'; …' if len(leaks) > SHOWN else ''}. What "
        "was trained on is remembered rather than recognised, so scores will be too good: leave the copies out of one "
        "split (the audit lists all), or keep them together with data.source.group_by."
    )


def _prints(splits: Mapping[SplitName, FileSplit]) -> Iterator[Print]:
    for name, split in splits.items():
        for pair in split.pairs:
            yield Print(name, pair.name, f"{file_digest(pair.image)} {pair.window}", None)
