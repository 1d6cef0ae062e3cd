"""What lies among the images and masks and is used for nothing: nobody should have to count samples to notice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

SHOWN = 3
"""How many names of one kind a warning gives."""

KEPT = 200
"""How many names of one kind are kept: of a million, as many as a page lists."""


class Unused(NamedTuple):
    """Files that are used for nothing, for one reason.

    Attributes:
        why: what they are, with the mend.
        total: how many there are.
        first: names of the first ``KEPT``.
    """

    why: str
    total: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, why: str, names: Iterable[str]) -> Unused:
        """Of all their names, those that are no Unicode with escapes: a page must be able to hold them."""
        listed = sorted(names)
        return cls(why, len(listed), tuple(name.encode(errors="backslashreplace").decode() for name in listed[:KEPT]))


def warning_of_unused(unused: Sequence[Unused]) -> str:
    """What to say before training, with the first names of each kind."""
    told = (
        f"{one.why}, {one.total} in all: {', '.join(map(repr, one.first[:SHOWN]))}{', …' if one.total > SHOWN else ''}"
        for one in unused
    )
    more = " (The audit lists more of them.)" if any(one.total > SHOWN for one in unused) else ""
    return f"some files of the data set are used for nothing: {'; '.join(told)}.{more}"
