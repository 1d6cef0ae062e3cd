"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. Only a fault changes the exit code."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "FAULT"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        level: see :class:`Level`.
        about: the thing, in a word or two.
        says: what it is like.
        fix: what to do, as a command where there is one; empty where nothing need be done.
    """

    level: Level
    about: str
    says: str
    fix: str = ""
