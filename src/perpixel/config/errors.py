"""What a user is told without a traceback: mistakes in the configuration, and what went wrong outside of the code."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from perpixel.config.synonyms import SYNONYMS


class UserFacingError(RuntimeError):
    """Something failed that no argument could have prevented, and the message says what, where and how to go on: a
    worker lost, a checkpoint damaged, memory full. Its traceback would say nothing more."""


class ConfigError(ValueError):
    """Mistakes in the configuration: each fault names the key, what is wrong and the nearest valid name.

    Attributes:
        faults: one text per mistake; the message tells them all.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        lines = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(faults[0] if len(faults) == 1 else f"{len(faults)} faults in the configuration:\n{lines}")


def nearest(name: str, valid: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the valid name closest to ``name``, or an empty string where none is close.

    What other tools call a key comes first (``epochs`` means ``trainer.max_epochs``), then of dotted names the only one
    with the same end (``data.source.policy`` means ``data.policy``), then siblings (``training.ema`` means
    ``training.ema_decay``), then names that are alike as a whole, then names that end alike (``lr`` means
    ``optimizer.lr``). A parent is never a suggestion for its child.
    """
    names = sorted(set(valid) - {name.rpartition(".")[0]})
    meant = SYNONYMS.get(name.rpartition(".")[2].lower(), "")
    if meant in names and name not in names:
        return f" Did you mean '{meant}'?"
    ends = [other for other in names if "." in name and other.rpartition(".")[2] == name.rpartition(".")[2]]
    found = ends[0] if len(ends) == 1 else _sibling(name, names)
    found = found or _first(get_close_matches(name, names, n=1, cutoff=0.7)) or _tail(name, names)
    found = found or _first(get_close_matches(name, names, n=1, cutoff=0.5))
    return f" Did you mean '{found}'?" if found else ""


def _sibling(name: str, names: list[str]) -> str:
    parent, _, last = name.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in names if other.rpartition(".")[0] == parent and parent}
    longer = [other for other in siblings if other.startswith(last)]
    return siblings.get(_first(longer) or _first(get_close_matches(last, siblings, n=1, cutoff=0.6)), "")


def _tail(name: str, names: list[str]) -> str:
    tails = {other.rpartition(".")[2]: other for other in reversed(names)}
    return tails.get(_first(get_close_matches(name.rpartition(".")[2], tails, n=1, cutoff=0.7)), "")


def _first(matches: list[str]) -> str:
    return matches[0] if matches else ""


def together(faults: Iterable[str]) -> ConfigError:
    """One error that tells all faults, each once."""
    return ConfigError(*dict.fromkeys(faults))
