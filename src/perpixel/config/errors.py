"""The one error of the config room."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigError(ValueError):
    """A mistake in the configuration: its message names the key, what is wrong and the nearest valid name."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the valid name closest to ``name``, or an empty string where none is close.

    A dotted name is also compared by its last part, so that ``lr`` finds ``optimizer.lr``.
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.7)
    if not close:
        tails = {candidate.rsplit(".", 1)[-1]: candidate for candidate in reversed(names)}
        tail = get_close_matches(name.rsplit(".", 1)[-1], tails, n=1, cutoff=0.7)
        close = [tails[tail[0]]] if tail else get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def together(faults: list[str]) -> ConfigError:
    """One error that tells all faults, each on a line of its own."""
    if len(faults) == 1:
        return ConfigError(faults[0])
    return ConfigError(f"{len(faults)} faults in the configuration:\n" + "\n".join(f"  - {fault}" for fault in faults))
